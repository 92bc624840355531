package main

import _ "stanch/internal/secret/kms" // keeper URLs of key services
