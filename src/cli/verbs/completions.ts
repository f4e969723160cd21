/** Shell completion: a short script for each shell that asks `tortie complete` for what could come next. */

import { proposeCompletions } from "../app.ts";
import type { Terminal } from "../terminal.ts";

const SCRIPTS = {
  bash: `_tortie() {
  local IFS=$'\\n'
  COMPREPLY=($(compgen -W "$(tortie complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _tortie tortie
`,
  zsh: `#compdef tortie
_tortie() {
  local -a found
  found=("\${(@f)$(tortie complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "$found" ]]; then compadd -- $found; else _files; fi
}
compdef _tortie tortie
`,
  fish: `complete -c tortie -f -a '(tortie complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
complete -c tortie -n '__fish_seen_subcommand_from apply create replace delete validate' -s f -l file -rF
complete -c tortie -n '__fish_seen_subcommand_from run down up' -l config -rF
`,
} as const;

/** Prints the completion script of a shell. */
export function completions(this: Terminal, _flags: Record<never, never>, shell: keyof typeof SCRIPTS): void {
  this.process.stdout.write(SCRIPTS[shell]);
}

/** Prints what could stand in the place of the last word, one a line. */
export async function complete(this: Terminal, _flags: Record<never, never>, ...words: string[]): Promise<void> {
  const proposals = await proposeCompletions(words, this);
  this.process.stdout.write(proposals.map((proposal) => `${proposal}\n`).join(""));
}
