#!/bin/sh
# SPDX-License-Identifier: MIT
#
# After the program has gone, for all package managers. Configurations and keys stay, until dpkg is
# told to purge.
set -e

case ${1:-} in
upgrade | failed-upgrade | abort-install | abort-upgrade | disappear | 1) exit 0 ;;
esac

# Scripts of OpenRC and procd that "paqet init" of this program has written.
written_scripts() {
    for script in /etc/init.d/paqet-*; do
        if grep -qs '^# Written by "paqet init"' "$script" && grep -q '[" ]/usr/bin/paqet[" ]' "$script"; then
            echo "$script"
        fi
    done
}

# Links that would start it at boot: with dpkg they stay until it purges.
unlink_services() {
    for script in $(written_scripts); do
        rm -f /etc/runlevels/*/"${script##*/}" /etc/rc.d/[SK][0-9][0-9]"${script##*/}"
    done
    [ ! -e /etc/systemd/system/paqet@.service ] || return 0 # it is of another program, see below
    for link in /etc/systemd/system/*.wants/paqet@*.service; do
        if [ -L "$link" ]; then
            rm -f "$link"
        fi
    done
}

# Whether "paqet init" of a program that was not in this package has set up what is in /etc/paqet.
is_of_another() {
    grep -q '/usr/local/bin/paqet$' /etc/paqet/made-by-init 2>/dev/null
}

case ${1:-} in
remove) ;;
purge)
    if is_of_another; then
        echo "paqet: /etc/paqet belongs to /usr/local/bin/paqet and stays; paqet init --remove takes it back"
        exit 0
    fi
    if grep -q '/etc/systemd/system/paqet@.service$' /etc/paqet/made-by-init 2>/dev/null; then
        rm -f /etc/systemd/system/paqet@.service
    fi
    unlink_services
    for script in $(written_scripts); do
        rm -f "$script"
    done
    rm -rf /etc/paqet /var/lib/paqet /run/paqet /run/paqet-*.pid /var/log/paqet-*.log
    if command -v userdel >/dev/null 2>&1; then
        userdel paqet >/dev/null 2>&1 || true
    fi
    ;;
*) unlink_services ;;
esac
rmdir /etc/paqet 2>/dev/null || true # where it is empty

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
