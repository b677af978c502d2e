#!/bin/sh
# Stands in for NVIDIA's installer: unpacks itself, knows --advanced-options, and puts the libraries of the version $BRINGS in place.
[ "$1 $2" = "--extract-only --target" ] && mkdir "$3" && cat >"$3/nvidia-installer" <<'INSTALLER' && chmod 755 "$3/nvidia-installer"
#!/bin/sh
[ "$1" = --advanced-options ] && echo '  --no-kernel-modules' && exit
echo "$*" >>"$ROOT/asked"
lib=$ROOT/usr/lib/x86_64-linux-gnu
mkdir -p "$lib" "$ROOT/usr/bin" && touch "$lib/libcuda.so.$BRINGS" "$lib/libnvidia-ml.so.$BRINGS" "$ROOT/usr/bin/nvidia-smi"
ln -sfn "libcuda.so.$BRINGS" "$lib/libcuda.so.1"
INSTALLER
