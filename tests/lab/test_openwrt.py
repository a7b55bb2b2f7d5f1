# SPDX-License-Identifier: MIT
"""The init script for OpenWrt: what it makes of /etc/config/paqet, under the shell that routers have. UCI and procd
are stubs of this test's own, which do what OpenWrt's functions.sh says of them: above all, a configuration is loaded
by functions called config, option and list, which a script must not have of its own."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import paqet
from case import Failure, Skip, expect, test
from lab import Lab, wait_until
from test_keys import pair

FOLDER = Path(__file__).resolve().parents[2] / "package" / "openwrt"

STUBS = r"""
config() {
	SECTION=$2
	SECTIONS="$SECTIONS $2"
	eval "TYPE_$2=\$1"
}
option() { eval "CONFIG_${SECTION}_$1=\$2"; }
list() {
	eval "n=\$((\${CONFIG_${SECTION}_$1_LENGTH:-0} + 1))"
	eval "CONFIG_${SECTION}_$1_ITEM$n=\$2 CONFIG_${SECTION}_$1_LENGTH=$n"
}
config_load() { eval "$UCI"; }
config_get() { eval "$1=\${CONFIG_$2_$3:-\$4}"; }
config_get_bool() {
	config_get "$@"
	eval "case \$$1 in 1 | on | true | yes | enabled) $1=1 ;; *) $1=0 ;; esac"
}
config_foreach() {
	for section in $SECTIONS; do
		eval "type=\$TYPE_$section"
		[ "$type" != "$2" ] || "$1" "$section" "$3"
	done
}
config_list_foreach() {
	local n item i=1
	eval "n=\$CONFIG_$1_$2_LENGTH"
	while [ "$i" -le "${n:-0}" ]; do
		eval "item=\$CONFIG_$1_$2_ITEM$i"
		"$3" "$item"
		i=$((i + 1))
	done
}
procd_open_instance() { echo "open $1"; }
procd_set_param() { echo "set $*"; }
procd_close_instance() { echo close; }
procd_add_reload_trigger() { echo "trigger $1"; }
"""


def shell() -> list[str]:
    if shutil.which("busybox"):
        return ["busybox", "ash"]
    if shutil.which("dash"):
        return ["dash"]
    raise Skip("neither busybox nor dash is here")


def start(lab: Lab, uci: str) -> tuple[str, Path]:
    """What procd is told, and the folder with what was written."""
    run = lab.folder / "run"
    script = f"{STUBS}\nUCI={shlex.quote(uci)}\n. {FOLDER / 'files' / 'paqet.init'}\nRUN={run}\nSTATE={lab.folder / 'state'}\nstart_service\nservice_triggers\n"
    result = subprocess.run([*shell(), "-e", "-c", script], capture_output=True, text=True, timeout=20, check=False)
    if result.returncode or result.stderr:
        raise Failure(f"exit code {result.returncode}: {result.stderr}")
    return result.stdout, run


@test()
def test_openwrt_nothing_by_default() -> None:
    """As it is installed, it starts nothing; every section of it can be switched on."""
    with Lab() as lab:
        uci = (FOLDER / "files" / "paqet.config").read_text()
        said, _ = start(lab, uci)
        expect(said == "trigger paqet\n", f"procd is told: {said}")
        said, run = start(lab, uci.replace("enabled '0'", "enabled '1'"))
        expect(re.findall("^open (.*)$", said, re.M) == ["link", "home", "out"], f"procd is told: {said}")
        expect("run -c /etc/paqet/client.yaml" in said, f"a file of the user's own: {said}")
        expect(sorted(path.name for path in run.iterdir()) == ["home.yaml", "out.yaml"], "files")
        expect((run / "home.yaml").stat().st_mode & 0o777 == 0o600, "others can read the key")


@test()
def test_openwrt_carries() -> None:
    """A client and a server by UCI, with whatever a key may hold, and a page through them."""
    with Lab() as lab:
        lab.origin()
        server, ali = pair(), pair()
        key = "quotes \" and ' and \\ and $HOME and `id` # : all of it"
        uci = (
            f"config client 'home'\n\toption enabled '1'\n\toption server '{lab.s.ip4}:{paqet.PORT}'\n"
            f"\toption key {shlex.quote(key)}\n\toption public_key '{server[1]}'\n\toption private_key '{ali[0]}'\n"
            f"\toption interface '{lab.c.device}'\n\tlist proxy '127.0.0.1:1080'\n\tlist forward '127.0.0.1:8022 127.0.0.1:8080'\n"
            f"config server 'out'\n\toption enabled '1'\n\toption port '{paqet.PORT}'\n\toption key {shlex.quote(key)}\n"
            f"\toption private_key '{server[0]}'\n\toption allow 'any'\n\toption state '{lab.folder}/stamps'\n\toption interface '{lab.s.device}'\n"
            f"\tlist user 'ali {ali[1]}'\n"
        )
        said, run = start(lab, uci)
        commands = re.findall(r"^set command /usr/bin/paqet run -c (.*)$", said, re.M)
        expect(commands == [str(run / "home.yaml"), str(run / "out.yaml")], f"procd is told: {said}")
        for host, name in ((lab.s, "out"), (lab.c, "home")):
            path = run / f"{name}.yaml"
            path.write_text(path.read_text() + 'control: "off"\n')
            process = host.start(name, [paqet.program(), "run", "-c", str(path)])
            paqet.wait_ready(process)
        wait_until(lambda: paqet.can_connect(lab), 10, "the proxy")
        paqet.wait_working(lab)
        argv = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{size_download}", "http://127.0.0.1:8022/1000"]
        size = lab.c.check(argv)
        expect(size == "1000", f"through the forward: {size} bytes")


@test()
def test_openwrt_makefile() -> None:
    """make can read it, and it names the files that there are. OpenWrt's own build is not tried."""
    with Lab() as lab:
        tree = lab.folder / "tree"
        tree.mkdir()
        for name in ("rules.mk", "package.mk", "meson.mk"):
            (tree / name).write_text("")
        argv = ["make", "-n", "-p", "-C", str(FOLDER), f"TOPDIR={tree}", f"INCLUDE_DIR={tree}"]
        result = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
        expect("missing separator" not in result.stderr and "PKG_NAME := paqet" in result.stdout, f"{result.stderr}")
        for name in re.findall(r"\./(files/\S+)", (FOLDER / "Makefile").read_text()):
            expect((FOLDER / name).is_file(), f"{name} is not there")
        options = (FOLDER.parents[1] / "meson_options.txt").read_text()
        for name in re.findall(r"-D(\w+)=", (FOLDER / "Makefile").read_text()):
            expect(f"'{name}'" in options, f"the build has no option {name}")
