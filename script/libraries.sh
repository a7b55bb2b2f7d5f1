# shellcheck shell=bash disable=SC2034,SC2154 # used by static.sh; root is set by lib.sh; out, logs, jobs, zig and quietly by static.sh
# SPDX-License-Identifier: MIT
#
# How script/static.sh makes the libraries of one kind of machine. Those that were made by another text
# than this one, at another place, or of other sources, are made again.

ZIG_VERSION=0.17.1
PACKAGES=(libuv1 libyaml libgpg-error libgcrypt20 qrencode libmicrohttpd nettle gnutls28 ngtcp2)
UPSTREAM=(qrencode) # of these the tarball alone, since Debian changes nothing in them that matters here
# These are Debian 13's on Debian 12, too: its libgcrypt uses VAES, and AES-GCM takes a quarter less time where there is
# that; it asks for a newer libgpg-error than Debian 12's.
NEWER=(libgpg-error libgcrypt20)
# What of libgcrypt goes in: the ciphers of the wire; digests for key derivation, CRC-32 and random
# numbers (key derivation does not compile without blake2, nor 1.11 without sha3); ecc for key exchange.
CIPHERS='aes blowfish cast5 des twofish salsa20 chacha20 sm4'
DIGESTS='sha1 sha256 sha512 sha3 blake2 crc'
PUBKEYS='ecc'

# name   target of the compiler   target of configure   family   endian  QUIC  flags (old ARMv7 has no NEON)
ARCHES='
x86_64  x86_64-linux-musl        x86_64-linux-gnu      x86_64   little  yes
arm64   aarch64-linux-musl       aarch64-linux-gnu     aarch64  little  yes
armv7   arm-linux-musleabihf     arm-linux-gnueabihf   arm      little  yes   -mcpu=baseline-neon-d32
mipsel  mipsel-linux-musleabi    mipsel-linux-gnu      mips     little  no    -msoft-float
mips    mips-linux-musleabi      mips-linux-gnu        mips     big     no    -msoft-float
riscv64 riscv64-linux-musl       riscv64-linux-gnu     riscv64  little  yes
s390x   s390x-linux-musl         s390x-linux-gnu       s390x    big     yes
'
# No path of this machine, nothing that the compiler would add to debug with, and each function by
# itself, to be left out if nobody calls it. What configure and meson try is linked with these and without
# symbols, too, as the program is: for other flags the compiler would first make another libc, which takes
# longer than most libraries.
common=(-O2 -g0 -fPIC -fno-sanitize=undefined -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections
    "-ffile-prefix-map=$root=.")

# ---- one architecture: $arch, $target, $host, $family, $endian, $quic, $flags; $deps is its folder

compile() { # FOLDER LIBRARY FLAG... -- FILE...: into a static library
    local into=$1 library=$2 args=() file
    shift 2
    while [ "$1" != -- ]; do
        args+=("$1")
        shift
    done
    shift
    rm -rf "$into"
    mkdir -p "$into"
    # the order in the library comes from these names, so no path of this machine is in them
    for file; do
        printf '%s %s\n' "$(tr / _ <<<"${file#"$out"/sources/}").o" "$file"
    done | quietly "$arch" xargs -P "$jobs" -L 1 env -C "$into" "$deps/bin/cc" "${common[@]}" "${args[@]}" -c -o
    rm -f "$deps/lib/$library"
    (cd "$into" && LC_ALL=C quietly "$arch" "$deps/bin/ar" rcs "$deps/lib/$library" ./*.o)
}

build_libuv() {
    local from=$out/sources/libuv1 files=() name
    for name in async core dl fs getaddrinfo getnameinfo loop loop-watcher pipe poll process proctitle signal stream \
        tcp thread tty udp linux linux-core linux-inotify linux-syscalls epoll procfs-exepath random-devurandom \
        random-getrandom random-sysctl-linux; do # what of these there is depends on the version
        [ ! -e "$from/src/unix/$name.c" ] || files+=("$from/src/unix/$name.c")
    done
    compile "$deps/libuv" libuv.a -D_GNU_SOURCE "-I$from/include" "-I$from/src" -- "$from"/src/*.c "${files[@]}"
    cp -r "$from/include/." "$deps/include/"
    write_pc libuv "$(sed -n 's/^AC_INIT(\[libuv\], \[\([^]]*\)\].*/\1/p' "$from/configure.ac")" -luv
}

build_libyaml() {
    local from=$out/sources/libyaml version
    version=$(sed -n 's/^set *(YAML_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9]*\)).*/\2/p' "$from/CMakeLists.txt" | paste -sd.)
    compile "$deps/libyaml" libyaml.a "-I$from/include" "-DYAML_VERSION_STRING=\"$version\"" \
        "-DYAML_VERSION_MAJOR=${version%%.*}" "-DYAML_VERSION_MINOR=$(cut -d. -f2 <<<"$version")" \
        "-DYAML_VERSION_PATCH=${version##*.}" -- "$from"/src/*.c
    cp "$from/include/yaml.h" "$deps/include/"
    write_pc yaml-0.1 "$version" -lyaml
}

build_qrencode() {
    local from=$out/sources/qrencode version files=() name
    version=$(sed -n "s/^PACKAGE_VERSION='\(.*\)'/\1/p" "$from/configure" 2>/dev/null || true)
    [ -n "$version" ] || version=$(sed -n 's/^AC_INIT(\[\?QRencode\]\?, *\[\?\([0-9.]*\)\]\?.*/\1/p' "$from/configure.ac")
    for name in bitstream mask mmask mqrspec qrencode qrinput qrspec rsecc split; do
        files+=("$from/$name.c")
    done
    compile "$deps/qrencode" libqrencode.a "-I$from" -DSTATIC_IN_RELEASE=static -DHAVE_STRDUP=1 \
        "-DMAJOR_VERSION=${version%%.*}" "-DMINOR_VERSION=$(cut -d. -f2 <<<"$version")" \
        "-DMICRO_VERSION=${version##*.}" "-DVERSION=\"$version\"" -- "${files[@]}"
    cp "$from/qrencode.h" "$deps/include/"
    write_pc libqrencode "$version" -lqrencode
}

write_pc() { # MODULE VERSION LIBS [FLAG]
    printf 'Name: %s\nDescription: static\nVersion: %s\nLibs: -L%s/lib %s\nCflags: -I%s/include %s\n' \
        "$1" "$2" "$deps" "$3" "$deps" "${4:-}" >"$deps/lib/pkgconfig/$1.pc"
}

configure() { # FOLDER SOURCE OPTION...
    local into=$1 from=$2
    shift 2
    rm -rf "$into"
    mkdir -p "$into"
    (cd "$into" && quietly "$arch" env CC="$deps/bin/cc" AR="$deps/bin/ar" RANLIB="$deps/bin/ranlib" \
        CC_FOR_BUILD="$out/bin/cc -O2" CPPFLAGS="-I$deps/include" CFLAGS="${common[*]}" LDFLAGS=-s \
        "$from/configure" --host="$host" --build=x86_64-pc-linux-gnu --prefix=/usr --sysconfdir=/etc --localstatedir=/var --disable-shared \
        --enable-static --disable-doc --disable-dependency-tracking "$@")
}

build_gpg_error() {
    local version
    # Without objdump, whose output it reads by an awk that takes hexadecimal numbers, as not every one does, it has the
    # size of a lock from a table: of the GNU C library, whose locks are as large as musl's or larger.
    configure "$deps/gpg-error" "$out/sources/libgpg-error" --disable-nls --disable-tests --disable-languages \
        ac_cv_prog_OBJDUMP= ac_cv_prog_ac_ct_OBJDUMP=
    quietly "$arch" make -C "$deps/gpg-error/src" -j "$jobs"
    cp "$deps/gpg-error/src/.libs/libgpg-error.a" "$deps/lib/"
    cp "$deps/gpg-error/src/gpg-error.h" "$deps/include/"
    version=$(sed -n "s/^PACKAGE_VERSION='\(.*\)'/\1/p" "$out/sources/libgpg-error/configure")
    # libgcrypt's configure asks this program
    cat >"$deps/bin/gpg-error-config" <<END
#!/bin/sh
for word; do
    case \$word in
    --version) echo $version ;;
    --cflags) echo -I$deps/include ;;
    --libs) echo -L$deps/lib -lgpg-error ;;
    esac
done
END
    chmod +x "$deps/bin/gpg-error-config"
}

build_gcrypt() {
    local options=(--disable-asm) part
    case $family in
    # its assembly is worth it: AES and GCM by instructions of the processor; that for SVE is SM4's alone, and crashes
    x86_64 | aarch64) options=(--disable-sve-support) ;;
    esac
    configure "$deps/gcrypt" "$out/sources/libgcrypt20" GPG_ERROR_CONFIG="$deps/bin/gpg-error-config" \
        ac_cv_path_GPGRT_CONFIG=no --enable-ciphers="$CIPHERS" --enable-digests="$DIGESTS" \
        --enable-pubkey-ciphers="$PUBKEYS" "${options[@]}"
    for part in compat mpi cipher random; do
        quietly "$arch" make -C "$deps/gcrypt/$part" -j "$jobs"
    done
    quietly "$arch" make -C "$deps/gcrypt/src" -j "$jobs" libgcrypt.la gcrypt.h
    cp "$deps/gcrypt/src/.libs/libgcrypt.a" "$deps/lib/"
    cp "$deps/gcrypt/src/gcrypt.h" "$deps/include/"
    write_pc libgcrypt "$(sed -n "s/^PACKAGE_VERSION='\(.*\)'/\1/p" "$out/sources/libgcrypt20/configure")" \
        '-lgcrypt -lgpg-error'
}

# Without TLS and all else that the page has no use for.
build_microhttpd() {
    local from=$out/sources/libmicrohttpd
    configure "$deps/microhttpd" "$from" --disable-https --disable-curl --disable-examples --disable-tools \
        --disable-postprocessor --disable-dauth --disable-bauth --disable-httpupgrade --disable-messages \
        --disable-largefile --enable-epoll --disable-poll
    quietly "$arch" make -C "$deps/microhttpd/src/microhttpd" -j "$jobs" libmicrohttpd.la
    cp "$deps/microhttpd/src/microhttpd/.libs/libmicrohttpd.a" "$deps/lib/"
    cp "$from/src/include/microhttpd.h" "$deps/include/"
    write_pc libmicrohttpd "$(sed -n "s/^PACKAGE_VERSION='\(.*\)'/\1/p" "$from/configure")" -lmicrohttpd
}

# ---- QUIC: ngtcp2, with GnuTLS, with nettle, which brings its own small arithmetic in place of GMP

build_nettle() {
    local options=(--disable-assembler) version
    case $family in
    x86_64 | aarch64) options=(--enable-fat) ;; # asks the processor what it can do
    esac
    configure "$deps/nettle" "$out/sources/nettle" --enable-mini-gmp --disable-documentation --disable-openssl \
        "${options[@]}"
    quietly "$arch" make -C "$deps/nettle" -j "$jobs" libnettle.a libhogweed.a
    cp "$deps/nettle/libnettle.a" "$deps/nettle/libhogweed.a" "$deps/lib/"
    mkdir -p "$deps/include/nettle"
    cp "$out"/sources/nettle/*.h "$deps/nettle/version.h" "$deps/include/nettle/"
    version=$(sed -n "s/^PACKAGE_VERSION='\(.*\)'/\1/p" "$out/sources/nettle/configure")
    write_pc nettle "$version" -lnettle
    write_pc hogweed "$version" '-lhogweed -lnettle'
}

# TLS 1.3 with X25519 or P-256, with a PSK or certificates; what TLS of before needs is left out
# where it can be.
build_gnutls() {
    local from=$out/sources/gnutls28 part added=()
    # Debian's patches are newer than what was made of the files that they change
    find "$from" -exec touch -h -d 2000-01-01 {} +
    configure "$deps/gnutls" "$from" PKG_CONFIG_LIBDIR="$deps/lib/pkgconfig" --with-nettle-mini \
        --with-included-libtasn1 --with-included-unistring \
        --with-default-trust-store-file=/etc/ssl/certs/ca-certificates.crt \
        --without-p11-kit --without-idn --without-tpm --without-tpm2 --without-zlib --without-brotli --without-zstd \
        --disable-libdane --disable-guile --disable-cxx --disable-tools --disable-tests --disable-nls --disable-rpath \
        --disable-manpages --disable-openssl-compatibility --disable-ssl3-support --disable-ssl2-support \
        --disable-dtls-srtp-support --disable-srp-authentication --disable-anon-authentication --disable-dhe \
        --disable-gost --disable-ocsp --disable-heartbeat-support --disable-padlock --disable-full-test-suite
    for part in gl lib; do
        quietly "$arch" make -C "$deps/gnutls/$part" -j "$jobs" CFLAGS="${common[*]} -Os"
    done
    # files that a patch adds are in no Makefile that was made before
    for part in gl_list gl_linkedhash_list; do
        [ ! -e "$from/gl/$part.c" ] || grep -q "$part.c" "$from/gl/Makefile.in" || added+=("$from/gl/$part.c")
    done
    if [ ${#added[@]} -gt 0 ]; then
        compile "$deps/gnutls-added" libgnutls-added.a -DHAVE_CONFIG_H "-I$deps/gnutls" "-I$deps/gnutls/gl" \
            "-I$from/gl" -- "${added[@]}"
        quietly "$arch" "$deps/bin/ar" r "$deps/gnutls/lib/.libs/libgnutls.a" "$deps"/gnutls-added/*.o
    fi
    cp "$deps/gnutls/lib/.libs/libgnutls.a" "$deps/lib/"
    mkdir -p "$deps/include/gnutls"
    cp "$from"/lib/includes/gnutls/*.h "$deps"/gnutls/lib/includes/gnutls/*.h "$deps/include/gnutls/"
    write_pc gnutls "$(sed -n "s/^PACKAGE_VERSION='\(.*\)'/\1/p" "$from/configure")" \
        '-lgnutls -lhogweed -lnettle'
}

build_ngtcp2() {
    local from=$out/sources/ngtcp2 defines version numbers
    defines=(-D_GNU_SOURCE -DHAVE_ARPA_INET_H -DHAVE_NETINET_IN_H -DHAVE_UNISTD_H -DHAVE_ENDIAN_H -DHAVE_BYTESWAP_H
        -DHAVE_DECL_BE64TOH=1 -DHAVE_DECL_BSWAP_64=1)
    [ "$endian" = little ] || defines+=(-DWORDS_BIGENDIAN)
    version=$(sed -n 's/^AC_INIT(\[ngtcp2\], \[\([^]]*\)\].*/\1/p' "$from/configure.ac")
    IFS=. read -r -a numbers <<<"$version"
    mkdir -p "$deps/include/ngtcp2"
    cp "$from"/lib/includes/ngtcp2/*.h "$from"/crypto/includes/ngtcp2/*.h "$deps/include/ngtcp2/"
    sed "s/@PACKAGE_VERSION@/$version/; s/@PACKAGE_VERSION_NUM@/0x$(printf '%02x' "${numbers[@]}")/" \
        "$from/lib/includes/ngtcp2/version.h.in" >"$deps/include/ngtcp2/version.h"
    compile "$deps/ngtcp2" libngtcp2.a "${defines[@]}" "-I$deps/include" "-I$from/lib" -- "$from"/lib/*.c
    compile "$deps/ngtcp2-crypto" libngtcp2_crypto_gnutls.a "${defines[@]}" "-I$deps/include" "-I$from/lib" \
        "-I$from/crypto" -- "$from/crypto/shared.c" "$from/crypto/gnutls/gnutls.c"
    write_pc libngtcp2 "$version" -lngtcp2
    write_pc libngtcp2_crypto_gnutls "$version" '-lngtcp2_crypto_gnutls -lngtcp2 -lgnutls -lhogweed -lnettle'
}

# A program that is the compiler, or another tool, for one target.
write_tool() { # FILE ARGUMENT...
    local file=$1
    shift
    mkdir -p "$(dirname "$file")"
    printf '#!/bin/sh\nZIG_GLOBAL_CACHE_DIR=%q ZIG_LOCAL_CACHE_DIR=%q exec %q %s "$@"\n' \
        "$out/zig-cache" "$out/zig-cache" "$zig/ziglang/zig" "$*" >"$file"
    chmod +x "$file"
}

build_libraries() {
    local part parts=(libuv libyaml qrencode microhttpd gpg_error gcrypt)
    write_tool "$deps/bin/cc" cc -target "$target" "$flags"
    write_tool "$deps/bin/cpp" cc -target "$target"
    write_tool "$deps/bin/ar" ar
    write_tool "$deps/bin/ranlib" ranlib
    mkdir -p "$deps/lib/pkgconfig" "$deps/include"
    [ "$quic" = no ] || parts+=(nettle gnutls ngtcp2)
    for part in "${parts[@]}"; do
        [ ! -e "$deps/$part.done" ] || continue
        say "$arch: $part"
        "build_$part"
        touch "$deps/$part.done"
    done
}
