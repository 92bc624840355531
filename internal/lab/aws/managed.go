package labaws

import (
	"time"

	"stanch/internal/lab/aws/policy"
)

const (
	adminARN      = "arn:aws:iam::aws:policy/AdministratorAccess"
	denyAllARN    = "arn:aws:iam::aws:policy/AWSDenyAll"
	readOnlyARN   = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	quarantineARN = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3"
)

// managed are the AWS managed policies that the laboratory has. ReadOnlyAccess
// is shortened, and the quarantine policy is an approximation from what is
// published about V3, not its text; their descriptions say so.
var managed = map[string]*managedPolicy{
	adminARN: {
		name: "AdministratorAccess", id: "ANPAIWMBCKSKIEE64ZLYK", description: "Provides full access to AWS services and resources.",
		document: must(policy.Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`, policy.Identity)),
	},
	denyAllARN: {
		name: "AWSDenyAll", id: "ANPAZKAPJZG4P43IKYPGL", description: "Deny all access.",
		document: must(policy.Parse(`{"Version":"2012-10-17","Statement":[{"Sid":"DenyAll","Effect":"Deny","Action":["*"],"Resource":"*"}]}`, policy.Identity)),
	},
	readOnlyARN: {
		name: "ReadOnlyAccess", id: "ANPAILL3HVNFSB6DCOWYQ", description: "Laboratory approximation: read-only access to the services of the laboratory.",
		document: must(policy.Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:Get*","iam:List*","s3:Get*","s3:List*","ec2:Describe*","cloudtrail:LookupEvents","account:List*","secretsmanager:List*","sts:GetAccessKeyInfo"],"Resource":"*"}]}`, policy.Identity)),
	},
	quarantineARN: {
		name: "AWSCompromisedKeyQuarantineV3", id: "ANPAZKAPJZG4LABORATRY", description: "Laboratory approximation of AWS's quarantine policy.",
		document: must(policy.Parse(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":["iam:AttachGroupPolicy","iam:AttachRolePolicy","iam:AttachUserPolicy","iam:ChangePassword","iam:CreateAccessKey","iam:CreateInstanceProfile","iam:CreateLoginProfile","iam:CreatePolicyVersion","iam:CreateRole","iam:CreateUser","iam:DetachUserPolicy","iam:PassRole","iam:PutGroupPolicy","iam:PutRolePolicy","iam:PutUserPermissionsBoundary","iam:PutUserPolicy","iam:SetDefaultPolicyVersion","iam:UpdateAccessKey","iam:UpdateAccountPasswordPolicy","iam:UpdateAssumeRolePolicy","iam:UpdateLoginProfile","iam:UpdateUser","iam:AddUserToGroup","sts:GetFederationToken","sts:GetSessionToken","s3:DeleteObject","s3:GetObject","s3:PutBucketPolicy","ec2:RunInstances","ec2:RequestSpotInstances","ec2:StartInstances","lambda:CreateFunction","bedrock:InvokeModel","bedrock:InvokeModelWithResponseStream","kms:ScheduleKeyDeletion","organizations:LeaveOrganization","ecs:CreateService"],"Resource":["*"]}]}`, policy.Identity)),
	},
}

func init() {
	for arn, m := range managed {
		m.arn = arn
		m.created = time.Date(2024, 8, 21, 0, 0, 0, 0, time.UTC)
	}
}
