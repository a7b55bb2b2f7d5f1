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
