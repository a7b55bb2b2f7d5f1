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

# apt-get with lists of its own: the same archives as the system's, but their sources; in the folder
# apt-newer Debian 13's in place of Debian 12's.
apt_sources() { # FOLDER ARGUMENT...
    local apt=$out/$1 rename='' file
    [ "$1" = apt ] || rename='s/\bbookworm\b/trixie/g'
    shift
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/parts"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ ! -e "$file" ] || sed -n "$rename; s/^deb\(-src\)\? /deb-src /p" "$file" >"$apt/parts/$(basename "$file" .list).list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ ! -e "$file" ] || sed "$rename; s/^Types:.*/Types: deb-src/" "$file" >"$apt/parts/$(basename "$file")"
    done
    apt-get -q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/parts" \
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o Acquire::Retries=3 \
        -o APT::Sandbox::User= "$@"
}

# Whether the lists in a folder are of today: the archive has only what is current, so what older ones name may be gone.
lists_are_fresh() { # FOLDER
    [ -n "$(find "$out/$1/updated" -mtime -1 2>/dev/null)" ]
}

# Prints the lists by which to take the packages of NEWER.
find_lists() {
    grep -q '^VERSION_CODENAME=bookworm' /etc/os-release || { echo apt && return; }
    if ! lists_are_fresh apt-newer; then
        ! apt_sources apt-newer update >>"$logs/download.log" 2>&1 || touch "$out/apt-newer/updated"
    fi
    if apt_sources apt-newer source --print-uris "${NEWER[@]}" >>"$logs/download.log" 2>&1; then
        echo apt-newer
    else
        say "Debian 13's ${NEWER[*]} are not to be had here: Debian 12's, which are slower" >&2
        echo apt
    fi
}

# Downloads a tarball of the package $name, by the lists of $apt, to $folder and unpacks it.
get_tarball() { # KIND ENDING TAR_OPTION...: as apt-get calls it, as its name ends; prints its name
    local file
    (cd "$folder" && quietly download apt_sources "$apt" source --download-only "--$1-only" "$name") || exit 1
    file=$(find "$folder" -name "*.$2.tar.*" ! -name '*.asc')
    shift 2
    quietly download tar xf "$file" -C "$out/sources/$name" "$@"
    basename "$file"
}

get_sources() { # PACKAGE...
    local name folder version apt
    for name; do
        [ ! -e "$out/sources/$name/.complete" ] || continue
        command -v apt-get >/dev/null ||
            die "the sources of $name come from Debian's archive by apt-get: run this on Debian or Ubuntu (a container" \
                "will do), or unpack them as $out/sources/$name and make an empty file .complete there"
        if ! lists_are_fresh apt; then
            say "lists of Debian's source packages"
            quietly download apt_sources apt update
            touch "$out/apt/updated"
        fi
        apt=apt
        [[ " ${NEWER[*]} " != *" $name "* ]] || apt=$(find_lists)
        say "source of $name"
        folder=$out/downloads/$name
        rm -rf "$folder" "$out/sources/$name"
        mkdir -p "$folder" "$out/sources/$name"
        # The tarballs, which the signed lists have the hashes of, are enough: some mirrors have not all of the rest.
        version=$(get_tarball tar orig --strip-components=1)
        if [[ " ${UPSTREAM[*]} " != *" $name "* ]]; then
            version=$(get_tarball diff debian)
            version=${version%.debian.tar.*}
            quietly download dpkg-source --before-build "$out/sources/$name" # applies Debian's patches
        fi
        echo "$version" >"$out/sources/$name/.complete"
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
