#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Before the ipk is unpacked. It says that it is for every kind of device, since OpenWrt has a name for each
# of them: here is looked whether this is one that the program runs on. @ARCH@ and @DEVICES@ are put in.
set -e

release=${IPKG_INSTROOT:-}/etc/openwrt_release # of an image, if one is built
[ -e "$release" ] || exit 0
device=$(sed -n "s/^DISTRIB_ARCH=['\"]*\([^'\"]*\).*/\1/p" "$release")
case $device in
'' | @DEVICES@) exit 0 ;;
esac
echo "paqet: this package is the one for @ARCH@, which does not run on this device ($device): take another" >&2
exit 1
