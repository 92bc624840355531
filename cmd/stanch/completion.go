package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (c *completionCmd) Help() string {
	return "Prints a completion script. bash: source <(stanch completion bash). zsh: stanch completion zsh > \"${fpath[1]}/_stanch\". fish: stanch completion fish > ~/.config/fish/completions/stanch.fish."
}

func (c *completionCmd) Run(rt *runtime) error {
	words := completionWords(rt.parser.Model.Node, nil)
	switch c.Shell {
	case "bash":
		return bashCompletion(rt, words)
	case "zsh":
		fmt.Fprintln(rt.stdout, "#compdef stanch\nautoload -U +X bashcompinit && bashcompinit")
		return bashCompletion(rt, words)
	case "fish":
		for _, w := range words {
			cond := "__fish_use_subcommand"
			if len(w.path) > 0 {
				cond = "__fish_seen_subcommand_from " + w.path[len(w.path)-1]
			}
			for _, x := range w.next {
				arg := "-a " + x
				if strings.HasPrefix(x, "--") {
					arg = "-l " + x[2:]
				}
				fmt.Fprintf(rt.stdout, "complete -c stanch -n '%s' %s\n", cond, arg)
			}
		}
		return nil
	}
	return fail(exitUsage, errors.New("unknown shell"), "bash, zsh or fish")
}

// completions are the words that may follow a command.
type completions struct {
	path []string
	next []string
}

func completionWords(n *kong.Node, path []string) []completions {
	var next []string
	for _, child := range n.Children {
		next = append(next, child.Name)
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			next = append(next, "--"+f.Name)
		}
	}
	out := []completions{{append([]string(nil), path...), next}}
	for _, child := range n.Children {
		out = append(out, completionWords(child, append(path, child.Name))...)
	}
	return out
}

func bashCompletion(rt *runtime, words []completions) error {
	fmt.Fprintln(rt.stdout, `_stanch() {
  local cur=${COMP_WORDS[COMP_CWORD]} path= w i
  for ((i = 1; i < COMP_CWORD; i++)); do
    w=${COMP_WORDS[i]}
    case $w in -*) ;; *) path="$path $w" ;; esac
  done
  local next=
  while :; do
    case "$path" in`)
	for _, w := range words {
		path := ""
		if len(w.path) > 0 {
			path = " " + strings.Join(w.path, " ")
		}
		fmt.Fprintf(rt.stdout, "      '%s') next='%s'; break ;;\n", path, strings.Join(w.next, " "))
	}
	_, err := fmt.Fprintln(rt.stdout, `    esac
    path=${path% *}
  done
  COMPREPLY=($(compgen -W "$next" -- "$cur"))
  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$cur"))
}
complete -o filenames -F _stanch stanch`)
	return err
}
