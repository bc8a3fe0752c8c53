#!/bin/sh
# Makes the docker image redis:7 (or $1) out of the redis-server on PATH, for machines that can pull no image. It installs
# nothing and overwrites no image that is there, unless with -f. Needs: redis-server, ldd, tar, a docker daemon.
#
#   internal/redistest/docker-image.sh && REDISTEST=docker go test ./internal/redistest/...
set -eu

force=no
if [ "${1:-}" = -f ]; then
	force=yes
	shift
fi
image=${1:-redis:7}

if [ "$force" = no ] && docker image inspect "$image" >/dev/null 2>&1; then
	echo "$image is there already"
	exit 0
fi

# On Debian redis-server is a link to redis-check-rdb: one program that goes by its name.
server=$(readlink -f "$(command -v redis-server)")
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/usr/local/bin" "$root/data" "$root/tmp"
chmod 1777 "$root/data" "$root/tmp"
cp "$server" "$root/usr/local/bin/redis-server"

# ldd prints "name => /path (address)" and, for the loader, "/path (address)".
for library in $(ldd "$server" | grep -o '/[^ ]*'); do
	mkdir -p "$root$(dirname "$library")"
	cp -L "$library" "$root$library"
done

tar -C "$root" -c . | docker import \
	--change 'ENV PATH=/usr/local/bin' \
	--change 'WORKDIR /data' \
	--change 'EXPOSE 6379' \
	--change 'CMD ["redis-server"]' \
	- "$image"
