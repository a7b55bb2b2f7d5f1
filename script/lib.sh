# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# Shared by the scripts of this folder: where things are, and as which user to build.

# shellcheck disable=SC2034 # used by those who source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# The repository may belong to another user than the one who builds (sudo, containers).
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'

if [ ! -w "${HOME:-/nowhere}" ]; then
    HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
    [ -w "$HOME" ] || HOME=/tmp
    export HOME
fi

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

can_write() { # USER PATH
    runuser -u "$1" -- test -w "$2"
}

# Root must not leave files in a user's clone: under sudo the caller builds, in a plain root shell
# the owner of the clone does, if they can write to it.
find_build_user() {
    local user=${SUDO_USER:-$(stat -c %U "$root")}
    if [ "$(id -u)" -ne 0 ]; then
        id -un
    elif getent passwd "$user" >/dev/null && can_write "$user" "$root"; then
        echo "$user"
    else
        echo root
    fi
}

BUILD_USER=${BUILD_USER:-$(find_build_user)}
export BUILD_USER

as_build_user() {
    if [ "$(id -un)" = "$BUILD_USER" ]; then
        "$@"
    else
        local home
        home=$(getent passwd "$BUILD_USER" | cut -d: -f6)
        runuser -u "$BUILD_USER" -- env HOME="$home" "$@"
    fi
}
