#!/bin/sh
# SPDX-License-Identifier: MIT
#
# After installation and after upgrades, for all package managers. Nothing is started that did not
# run: there is no configuration yet, "paqet init" makes one.
set -e

[ -z "${IPKG_INSTROOT:-}" ] || exit 0 # an image is built

if command -v systemd-sysusers >/dev/null 2>&1; then
    systemd-sysusers paqet.conf
fi
if [ ! -e /etc/paqet ]; then
    mkdir -m 0700 /etc/paqet
    # the service passes through, but sees no names and changes nothing
    if chown root:paqet /etc/paqet 2>/dev/null; then
        chmod 0710 /etc/paqet
    fi
fi

# What runs goes on with the new program.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
    systemctl try-restart 'paqet@*.service' || true
fi
for script in /etc/init.d/paqet-*; do
    [ -x "$script" ] || continue
    if command -v rc-service >/dev/null 2>&1; then
        rc-service --ifstarted "${script##*/}" restart || true
    elif [ -e /etc/rc.common ] && "$script" running; then
        "$script" restart || true
    fi
done
# where there is no service manager, "paqet init" has started it, as root: a number may be another's by now
for file in /run/paqet-*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" = "/usr/bin/paqet (deleted)" ] || continue # of the version before
    [ "$(sed -n 's/^Uid:[^0-9]*//p' "/proc/$pid/status" | tr '\t' ' ')" = "0 0 0 0" ] || continue
    config=$(tr '\0' '\n' <"/proc/$pid/cmdline" | sed -n 4p)                               # paqet run -c CONFIG
    log=/var/log/$(basename "$file" .pid).log
    kill "$pid" || true
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -e "/proc/$pid/exe" ] || break # it has ended, or is a zombie
        sleep 0.5
    done
    setsid /usr/bin/paqet run -c "$config" </dev/null >>"$log" 2>&1 &
    echo $! >"$file"
done
