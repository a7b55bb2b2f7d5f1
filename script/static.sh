# shellcheck shell=bash disable=SC2154 # root is set by lib.sh
# SPDX-License-Identifier: MIT
#
# Shared by script/release, script/foreign and script/package: a compiler for every kind of machine,
# and the libraries, static and with musl, from Debian's source packages. All of it lies in build-release.

# shellcheck source=script/libraries.sh
. "$root/script/libraries.sh"

quic_choice= # yes or no in place of the table's

out=$root/build-release
logs=$out/log
zig=$out/zig-$ZIG_VERSION
jobs=$(nproc)

say() {
    echo "$(basename "$0"): $*"
}

# Runs a command whose output is only of interest if it fails.
quietly() { # LOG COMMAND...
    local log=$logs/$1.log
    shift
    if ! "$@" >>"$log" 2>&1; then
        grep -E 'error:|ERROR|\*\*\*' "$log" | tail -n 5 | cut -c 1-200 >&2 || true
        tail -n 10 "$log" | cut -c 1-200 >&2
        die "'$(basename "$1") ${*:2:3}' failed; all of its output is in $log"
    fi
}

# ---- downloads

get_compiler() {
    local wheel
    [ ! -x "$zig/ziglang/zig" ] || return 0
    say "compiler: ziglang $ZIG_VERSION (100 MB)"
    quietly download python3 -m pip download --quiet --no-deps --only-binary :all: \
        --dest "$out/downloads" "ziglang==$ZIG_VERSION"
    wheel=$(find "$out/downloads" -name "ziglang-$ZIG_VERSION-*.whl" | head -n 1)
    [ -n "$wheel" ] || die "pip has left no wheel of ziglang in $out/downloads"
    rm -rf "$zig"
    python3 -m zipfile -e "$wheel" "$zig"
    chmod +x "$zig/ziglang/zig"
}

# apt-get with lists of its own: the same archives as the system's, but their sources.
apt_sources() {
    local apt=$out/apt file
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ ! -e "$file" ] || sed -n 's/^deb\(-src\)\? /deb-src /p' "$file" >"$apt/parts/$(basename "$file" .list).list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" >"$apt/parts/$(basename "$file")"
    done
    apt-get -q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/parts" \
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Acquire::Retries=3 \
        -o APT::Sandbox::User= "$@"
}

get_sources() { # PACKAGE...
    local name folder
    for name; do
        [ ! -e "$out/sources/$name/.complete" ] || continue
        command -v apt-get >/dev/null ||
            die "the sources of $name come from Debian's archive by apt-get: run this on Debian or Ubuntu (a container" \
                "will do), or unpack them as $out/sources/$name and make an empty file .complete there"
        if [ ! -e "$out/apt/updated" ]; then
            say "lists of Debian's source packages"
            quietly download apt_sources update
            touch "$out/apt/updated"
        fi
        say "source of $name"
        folder=$out/downloads/$name
        rm -rf "$folder" "$out/sources/$name"
        mkdir -p "$folder" "$out/sources"
        if [[ " ${UPSTREAM[*]} " == *" $name "* ]]; then
            (cd "$folder" && quietly download apt_sources source --download-only --tar-only "$name")
            mkdir -p "$out/sources/$name"
            quietly download tar xf "$folder"/*.orig.tar.* -C "$out/sources/$name" --strip-components=1
            basename "$folder"/*.orig.tar.* >"$out/sources/$name/.complete"
        else
            (cd "$folder" && quietly download apt_sources source --download-only "$name")
            quietly download dpkg-source --no-check -x "$folder"/*.dsc "$out/sources/$name"
            basename "$folder"/*.dsc .dsc >"$out/sources/$name/.complete"
        fi
    done
}

# ---- one architecture

# Sets up a build of the project.
setup_project() { # FOLDER MESON_OPTION...
    local words folder=$1 with_quic=enabled
    shift
    words=$(printf "'%s', " "${common[@]}")
    # meson asks for the linker's name, and older ones do not know this one's; and for what the
    # compiler defines, to which this one does not take its own names of processors
    cat >"$deps/bin/cc-for-meson" <<END
#!/bin/sh
case " \$* " in
*' -Wl,--version '*) echo 'LLD 17 (compatible with GNU linkers)' ;;
*' -dM '*) exec '$deps/bin/cpp' "\$@" ;;
*) exec '$deps/bin/cc' "\$@" ;;
esac
END
    chmod +x "$deps/bin/cc-for-meson"
    # 300 KB for debuggers and exceptions, of which there are none in C, and on MIPS 170 KB more, all left in by -s
    printf 'SECTIONS { /DISCARD/ : { *(.eh_frame) *(.pdr) } }\nINSERT AFTER .text;\n' >"$deps/discard.ld"
    cat >"$deps/cross.ini" <<END
[binaries]
c = '$deps/bin/cc-for-meson'
ar = '$deps/bin/ar'
pkgconfig = 'pkg-config'
[properties]
pkg_config_libdir = '$deps/lib/pkgconfig'
[built-in options]
c_args = [${words%, }]
c_link_args = [$words'-static', '-s', '-Wl,--gc-sections', '-Wl,-T,$deps/discard.ld']
[host_machine]
system = 'linux'
cpu_family = '$family'
cpu = '$family'
endian = '$endian'
END
    [ -z "${wrapper:-}" ] || sed -i "/^pkgconfig/a exe_wrapper = '$wrapper'" "$deps/cross.ini"
    rm -rf "$folder"
    [ "$quic" = yes ] || with_quic=disabled
    quietly "$arch" meson setup "$folder" "$root" --cross-file "$deps/cross.ini" --buildtype=release \
        --wrap-mode=nofallback -Dprefer_static=true -Dhttp_linked=true -Dfec=builtin -Dpcap=disabled \
        "-Dquic=$with_quic" "-Db_pie=$pie" "$@"
}

# Calls a function for one architecture, behind its libraries.
for_arch() { # NAME FUNCTION
    local arch=$1 target host family endian quic flags deps=$out/$1 stamp pie=false
    read -r _ target host family endian quic flags <<<"$(grep "^$arch " <<<"$ARCHES")"
    quic=${quic_choice:-$quic}
    case $family in
    x86_64 | aarch64) pie=true ;;
    esac
    rm -f "$logs/$arch.log"
    stamp=$(cd "$out/sources" && { cat "$root/script/libraries.sh" "${PACKAGES[@]/%//.complete}" && echo "$root"; } | sha256sum)
    if [ "$(cat "$deps/stamp" 2>/dev/null)" != "$stamp" ]; then # made in another way, of others, or somewhere else
        rm -rf "$deps"
        mkdir -p "$deps"
        echo "$stamp" >"$deps/stamp"
    fi
    build_libraries
    "$2"
}

known_arches() {
    awk 'NF { printf "%s ", $1 }' <<<"$ARCHES"
}

check_arches() { # NAME...
    local name
    for name; do
        [[ " $(known_arches) " == *" $name "* ]] || die "unknown architecture '$name': $(known_arches)"
    done
}

# Whether there is a program of one architecture, of this commit with nothing changed since.
is_current() { # ARCH
    local commit
    commit=$(git -C "$root" describe --always --dirty=+)
    [[ $commit != *+ ]] && LC_ALL=C grep -aqP "(^|[^0-9a-f])\Q$commit\E\x00" "$out/paqet-$1" 2>/dev/null
}

prepare() { # PACKAGE...: beside those of the program
    [[ $root != *[[:blank:]]* ]] || die "the path $root has a blank in it, which libtool cannot bear: move the clone"
    mkdir -p "$logs" "$out/downloads"
    get_compiler
    get_sources "${PACKAGES[@]}" "$@"
    write_tool "$out/bin/cc" cc
}
