#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Before the program goes, for all package managers: what runs is stopped.
set -e

case ${1:-} in
upgrade | deconfigure | failed-upgrade | 1) exit 0 ;; # dpkg and opkg; rpm: one stays
esac
# what "paqet init" of a program without the package has set up goes on
if grep -q '/usr/local/bin/paqet$' /etc/paqet/made-by-init 2>/dev/null; then
    exit 0
fi

if [ -d /run/systemd/system ]; then
    systemctl stop 'paqet@*.service' || true
fi
for script in /etc/init.d/paqet-*; do
    [ -x "$script" ] || continue
    if command -v rc-service >/dev/null 2>&1; then
        rc-service --ifstarted "${script##*/}" stop || true
    elif [ -e /etc/rc.common ]; then
        "$script" stop || true
    fi
done
# where there is no service manager, "paqet init" has started it
for file in /run/paqet-*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    [ "$(sed -n 's/^Uid:[^0-9]*//p' "/proc/$pid/status" 2>/dev/null | tr '\t' ' ')" = "0 0 0 0" ] || continue
    case $(readlink "/proc/$pid/exe" 2>/dev/null) in
    /usr/bin/paqet*) kill "$pid" || true ;;
    esac
done
