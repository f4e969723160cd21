#!/bin/sh
# tortie @VERSION@ (@TARGET@): a shell head, and behind it a gzip-compressed tar of the Deno program and the bundle.
#
# The first start unpacks it into a private folder named by its hash, checks every file, and renames the folder into
# place; every start then runs it from there in place of this shell, so that the process id stays the one that was
# started. The folder is trusted when it and its parent are ours alone (mode 700): its presence says that it was
# checked. The hash is the SHA-256 of MANIFEST, which holds the SHA-256 of every other file. A program that runs holds a
# shared lock on MANIFEST, so an unpacking that tidies up removes no other version that is in use.
# TORTIE_RUNTIME_DIR chooses another parent folder.
set -u
hash=@HASH@
payload_line=@PAYLOAD_LINE@
needs_mb=@NEEDS_MB@

fail() {
  printf 'tortie: %s\n' "$1" >&2
  exit 1
}

case $0 in
  /*) self=$0 ;;
  */*) self=$PWD/$0 ;;
  *) if [ -f "$0" ]; then self=$PWD/$0; else self=$(command -v -- "$0"); fi ;;
esac

if [ -n "${TORTIE_RUNTIME_DIR:-}" ]; then
  base=$TORTIE_RUNTIME_DIR
elif [ -O / ]; then
  base=/var/lib/tortie/runtime
elif [ -n "${XDG_CACHE_HOME:-}" ]; then
  base=$XDG_CACHE_HOME/tortie
elif [ -n "${HOME:-}" ]; then
  base=$HOME/.cache/tortie
else
  fail 'no folder to unpack into: set HOME or TORTIE_RUNTIME_DIR'
fi
case $base in /*) ;; *) base=$PWD/$base ;; esac
dir=$base/$hash

usable() {
  [ -O "$base" ] && [ -O "$dir" ] && [ -f "$dir/MANIFEST" ] &&
    [ "$(stat -c '%a %F' -- "$base" "$dir" 2>&1)" = '700 directory
700 directory' ]
}

cannot_unpack() {
  fail "cannot unpack into $base: $1 (it needs $needs_mb MB there; TORTIE_RUNTIME_DIR chooses another folder)"
}

unpack() {
  umask 077
  why=$(mkdir -p -- "$base" 2>&1) || cannot_unpack "$why"
  if [ ! -O "$base" ] || [ "$(stat -c '%a %F' -- "$base")" != '700 directory' ]; then
    fail "$base must be a folder of yours that nobody else can enter: chown it to $(id -un) and chmod it 700"
  fi
  if ! { : >>"$base/lock"; } 2>/dev/null; then cannot_unpack 'it cannot be written'; fi
  exec 8>>"$base/lock"
  flock 8 || fail "cannot lock $base/lock"
  if usable; then return; fi

  # Under the lock, what bears these names was left by an unpacking that was killed.
  rm -rf -- "$base"/new.* "$dir"
  new=$(mktemp -d -- "$base/new.XXXXXX" 2>&1) || cannot_unpack "$new"
  trap 'rm -rf -- "$new"' EXIT
  trap 'exit 1' HUP INT TERM
  why=$({ tail -n "+$payload_line" -- "$self" | gzip -dc | tar -xf - --no-same-owner -C "$new"; } 2>&1) ||
    case $why in
      *'No space left'* | *'Wrote only'*) cannot_unpack 'No space left on device' ;;
      *) cannot_unpack "$(printf '%s\n' "$why" | head -n 1)" ;;
    esac
  if [ "$(sha256sum 2>&1 <"$new/MANIFEST")" != "$hash  -" ] ||
    ! (cd -- "$new" && sha256sum --check --strict --status MANIFEST); then
    fail "$self is damaged: what it unpacks does not match its hash; install it again"
  fi
  # On the disk before it has its name, or a power cut could leave a checked name over empty files.
  why=$(find "$new" -type f -exec sync -d -- {} + 2>&1) || cannot_unpack "$why"
  why=$(mv -T -- "$new" "$dir" 2>&1) || cannot_unpack "$why"

  for other in "$base"/*/MANIFEST; do
    other=${other%/MANIFEST}
    [ "$other" = "$dir" ] || flock -n -- "$other/MANIFEST" rm -rf -- "$other" || :
  done
}

usable || (unpack) || exit 1
exec 9<"$dir/MANIFEST"
flock -s 9
[ -f "$dir/MANIFEST" ] || fail 'another version tidied this one away just now; start it again'
[ -x "$dir/tortie" ] || fail "cannot run $dir/tortie: is $base on a noexec mount? TORTIE_RUNTIME_DIR chooses another"
export TORTIE_SELF="$self" DENO_DIR="$dir/cache" DENO_NO_UPDATE_CHECK=1 DENO_NO_PACKAGE_JSON=1
exec "$dir/tortie" run --quiet --allow-all --no-prompt --no-config --no-lock --no-remote --no-npm --cached-only \
  "$dir/app/main.js" "$@"
exit 1
