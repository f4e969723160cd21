#!/usr/bin/env bash
# Installs tortie, its toolchain, and what its lab and its tests need. Run it again at will: what stands is left alone.
#
#   sudo ./install.sh             the executable, the default configuration, the systemd unit
#   sudo ./install.sh lab         the lab's Debian packages, the executable in dist/, and the lab started
#   sudo ./install.sh test        the tests' Debian packages, then format, lint, types and every test
#        ./install.sh toolchain   Deno alone (into .tools/)
#   sudo ./install.sh uninstall   takes the executable, the unit and the unpacked program away; keeps what is yours
#
# DESTDIR installs below another root and starts nothing; PREFIX (default /usr/local) moves the executable.
# Needed from outside: npm's packages (npm's own settings are honoured) and Debian's.
set -euo pipefail

readonly DENO_VERSION=2.9.6
# npm's `dist.integrity` of @deno/linux-x64-glibc at that version; npm has no linux-arm64-glibc of it.
readonly DENO_X64_SHA512='3md4TKLCuzsLDmfOoC5KN7NAZaxSVkMgm64vg6foD00JBADCpYS2/5QqXfzgnP5ZQz3iLP9vBQJtEgc116OAoQ=='
readonly LAB_PACKAGES=(bird2 iproute2 iputils-ping)
readonly TEST_PACKAGES=(bird2 frr gobgpd exabgp etcd-server etcd-client nftables tcpdump iputils-ping iputils-arping
  iproute2 conntrack strace jq procps zsh fish tshark bgpdump python3 curl netbase)

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
readonly root prefix=${PREFIX:-/usr/local} destdir=${DESTDIR:-}
export DENO_NO_UPDATE_CHECK=1
deno=
changed=0

say() { printf '%s\n' "$*"; }
fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 1
}

cleanup=()
run_cleanup() {
  local path
  for path in "${cleanup[@]}"; do rm -rf -- "$path"; done
}
trap run_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

need_root() {
  [ "$(id -u)" = 0 ] || fail "$1 needs root: run \`sudo ./install.sh${2:+ $2}\`"
}

# ---- Debian packages -------------------------------------------------------------------------------------------------

missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || printf '%s\n' "$package"
  done
}

apt_knows() {
  local package
  for package in "$@"; do
    apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [^(]' || return 1
  done
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# True if the unit was enabled and now is not. Packages enable theirs even where there is no systemctl (yet).
disable_unit() {
  if command -v systemctl >/dev/null; then
    systemctl is-enabled --quiet "$1" 2>/dev/null && systemctl disable --quiet "$1" 2>/dev/null
  else
    # It refuses to work but for dpkg, which says so by this variable.
    DPKG_MAINTSCRIPT_PACKAGE=tortie deb-systemd-helper was-enabled "$1" >/dev/null 2>&1 &&
      DPKG_MAINTSCRIPT_PACKAGE=tortie deb-systemd-helper disable "$1" >/dev/null 2>&1
  fi
}

# A package's daemon neither starts now (policy-rc.d) nor at boot (its units are disabled again).
install_packages() {
  local missing unit
  mapfile -t missing < <(missing_packages "$@")
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "these Debian packages are missing, and there is no apt-get: ${missing[*]}"
  need_root "installing ${missing[*]}" "$mode"
  say "installing Debian packages: ${missing[*]}"
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    cleanup+=(/usr/sbin/policy-rc.d)
    printf '#!/bin/sh\n# Put here by install.sh while it installs packages: nothing is started.\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
  fi
  apt_knows "${missing[@]}" || apt-get update -q
  if ! apt_install "${missing[@]}"; then
    say 'the package lists may be old: updating them and trying once more'
    apt-get update -q
    apt_install "${missing[@]}" || fail "cannot install ${missing[*]}; apt-get said why above"
  fi
  run_cleanup
  cleanup=()

  while read -r unit; do
    if disable_unit "$unit"; then
      say "disabled ${unit}: it was installed for tortie's lab and tests, and does not start at boot"
    fi
  done < <(dpkg-query -L "${missing[@]}" | sed -nE 's#^(/usr)?/lib/systemd/system/([^/@]+\.(service|socket|timer))$#\2#p' | sort -u)
}

# ---- Deno ------------------------------------------------------------------------------------------------------------

is_wanted_deno() {
  [ "$("$1" --version 2>/dev/null | sed -n '1s/^deno \([0-9.]*\).*/\1/p')" = "$DENO_VERSION" ]
}

find_deno() {
  local path new wanted package=@deno/linux-x64-glibc@$DENO_VERSION
  # Deno fetches the packages of deno.lock from where npm is told to.
  if command -v npm >/dev/null; then
    path=$(npm config get registry 2>/dev/null || true)
    case $path in http*) export NPM_CONFIG_REGISTRY="$path" ;; esac
  fi
  for path in "$(command -v deno || true)" "$root/.tools/deno"; do
    if [ -n "$path" ] && is_wanted_deno "$path"; then
      deno=$path
      return
    fi
  done
  case $(uname -s)-$(uname -m) in
    Linux-x86_64) ;;
    *) fail "npm has no Deno $DENO_VERSION for $(uname -s) on $(uname -m): install it by hand so that \`deno\` is on PATH" ;;
  esac
  command -v npm >/dev/null || install_packages npm ca-certificates

  say "fetching Deno $DENO_VERSION with npm"
  mkdir -p "$root/.tools"
  new=$(mktemp -d "$root/.tools/new.XXXXXX")
  cleanup+=("$new")
  (cd "$new" && npm pack --silent "$package" >/dev/null) || fail "npm cannot fetch $package"
  mv "$new"/*.tgz "$new/deno.tgz"
  wanted=$(printf '%s' "$DENO_X64_SHA512" | base64 -d | od -An -v -tx1 | tr -d ' \n')
  printf '%s  %s\n' "$wanted" "$new/deno.tgz" | sha512sum --check --status ||
    fail "what npm gave as $package does not have the pinned SHA-512; nothing of it was run"
  tar -xzf "$new/deno.tgz" -C "$new" --no-same-owner package/deno
  chmod 755 "$new/package/deno"
  is_wanted_deno "$new/package/deno" || fail "Deno $DENO_VERSION does not run on this machine"
  mv -f "$new/package/deno" "$root/.tools/deno"
  deno=$root/.tools/deno
  say "installed $deno"
}

build() {
  find_deno
  (cd "$root" && "$deno" run -A --frozen build/build.ts)
}

# ---- Installing ------------------------------------------------------------------------------------------------------

# place SOURCE TARGET MODE: atomically, and only when the content or the mode differs.
place() {
  local target=$destdir$2
  if [ -f "$target" ] && [ "$(stat -c %a "$target")" = "$3" ] && cmp -s "$1" "$target"; then
    say "unchanged  $target"
    return
  fi
  mkdir -p "$(dirname "$target")"
  install -m "$3" "$1" "$target.new"
  mv -f "$target.new" "$target"
  changed=1
  say "installed  $target"
}

install_all() {
  local unit config=$destdir/etc/tortie/tortie.yaml
  [ -n "$destdir" ] || need_root 'installing'
  build
  place "$root/dist/tortie" "$prefix/bin/tortie" 755
  if [ -e "$config" ] && ! cmp -s "$root/config/tortie.yaml" "$config"; then
    say "kept       $config (yours; the default is $root/config/tortie.yaml)"
  else
    place "$root/config/tortie.yaml" /etc/tortie/tortie.yaml "$([ -e "$config" ] && stat -c %a "$config" || echo 644)"
  fi
  unit=$(mktemp)
  cleanup+=("$unit")
  sed "s#^ExecStart=/usr/local/bin/#ExecStart=$prefix/bin/#" "$root/config/tortie.service" >"$unit"
  place "$unit" /etc/systemd/system/tortie.service 644

  if [ -z "$destdir" ]; then
    if [ "$changed" = 1 ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
    # Unpacks a self-extracting executable now, so that the node's first start does not wait for it.
    "$prefix/bin/tortie" version
  fi
  if [ "$changed" = 0 ]; then
    say 'nothing changed'
  else
    say 'next: edit /etc/tortie/tortie.yaml if you like, then: systemctl enable --now tortie'
    say '      after an upgrade: systemctl restart tortie (workloads keep their connections)'
  fi
}

uninstall() {
  local path
  [ -n "$destdir" ] || need_root 'uninstalling' uninstall
  if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then
    systemctl disable --now --quiet tortie.service 2>/dev/null || true
  fi
  for path in "$prefix/bin/tortie" /etc/systemd/system/tortie.service /var/lib/tortie/runtime; do
    if [ -e "$destdir$path" ]; then
      rm -rf -- "$destdir$path"
      changed=1
      say "removed    $destdir$path"
    fi
  done
  if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  if [ "$changed" = 0 ]; then say 'nothing to remove'; fi
  say "kept       $destdir/etc/tortie and $destdir/var/lib/tortie (yours), and the kernel's state (\`tortie down\` takes it off)"
}

mode=${1:-}
[ "$#" -le 1 ] || fail "too many words; usage: ./install.sh [lab|test|toolchain|uninstall]"
case $mode in
  '') install_all ;;
  lab)
    need_root 'the lab' lab
    install_packages "${LAB_PACKAGES[@]}"
    build
    "$root/dist/tortie" lab up
    ;;
  test)
    need_root 'the tests (they make network namespaces)' test
    install_packages "${TEST_PACKAGES[@]}"
    build
    cd "$root"
    # The labs start the executable that was just built, as a user would.
    TORTIE_EXECUTABLE="$root/dist/tortie" "$deno" run -A --frozen build/test.ts --gates
    ;;
  toolchain) find_deno && say "$deno" ;;
  uninstall) uninstall ;;
  *) fail "unknown word \`$mode\`; usage: ./install.sh [lab|test|toolchain|uninstall]" ;;
esac
