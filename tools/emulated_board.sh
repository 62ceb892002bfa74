#!/bin/bash
# The agent on an emulated 64-bit ARM board: Debian 12 in QEMU, which tells its processor as a Raspberry Pi 4 does.
#
#     make packages
#     sudo apt-get install qemu-user-static debootstrap
#     sudo tools/emulated_board.sh /tmp/board [PORT]      # ends with Ctrl-C; the next start takes seconds
#
# It shows that the agent installs and runs there and what answers its runtimes give, not how fast: emulation takes
# hundreds of times as long. A recipe of an exported file runs in it too, after `chroot /tmp/board /root/agent/bin/pip
# install pillow`: `chroot /tmp/board /root/agent/bin/python ...`.
set -euo pipefail
board=${1:?the folder of the board, which is made where it is not there}
port=${2:-8765}
wheel=$(ls -t "$(dirname "$0")"/../dist/mnasnet-*.whl | head -1)
export QEMU_CPU=cortex-a72 # a Pi 4's

if ! [ -e "$board/root/agent" ]; then
    debootstrap --arch=arm64 --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$board"
    cp /etc/resolv.conf "$board/etc/"
    chroot "$board" python3 -m venv /root/agent
    chroot "$board" /root/agent/bin/pip install numpy onnxruntime ai-edge-litert
fi
cp "$wheel" "$board/root/"
chroot "$board" /root/agent/bin/pip install --no-deps --force-reinstall "/root/$(basename "$wheel")"

# ONNX Runtime and LiteRT read what the processor can from here, and crash on what an x86 tells
core='BogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n'
core+='CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
for number in $(seq 0 $(($(nproc) - 1))); do printf "processor\t: %d\n$core" "$number"; done > "$board/root/cpuinfo"
printf 'Hardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n' >> "$board/root/cpuinfo"

# mounts of its own, gone with the last process
exec unshare --mount --pid --fork --kill-child bash -c "
    mount -t proc proc '$board/proc' && mount --bind '$board/root/cpuinfo' '$board/proc/cpuinfo'
    mount --rbind /dev '$board/dev' && mount -t sysfs sys '$board/sys'
    exec chroot '$board' /root/agent/bin/python -m mnasnet agent --port $port --time-limit 600"
