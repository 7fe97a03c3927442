# Shared by the scripts next to it, which source it. Bash.

# shellcheck shell=bash
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH="$root/.venv/bin:$PATH:/usr/sbin:/sbin" LC_ALL=C.UTF-8
started_daemons=()
started_network=
kvm_was=()

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo env PATH="$PATH" "$@"
    fi
}

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# need_root WHAT ELSE: fails unless this is root, or somebody whom sudo lets be root; sudo may ask for a password here.
need_root() {
    [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null && sudo true; } ||
        fail "$1 takes root, and there is no sudo that lets you be root: $2"
}

need_setup() {
    [ -e "$root/.venv/made-for-project" ] || fail "run scripts/setup first: it makes $root/.venv, which is not there"
}

libvirt_answers() {
    virsh --quiet --connect qemu:///system version >/dev/null 2>&1
}

# Runs a command as somebody who may use qemu:///system: the user, if that is so, else root.
with_libvirt() {
    if libvirt_answers; then
        "$@"
    else
        as_root "$@"
    fi
}

system_virsh() {
    with_libvirt virsh --quiet --connect qemu:///system "$@"
}

# Gives /dev/kvm the owner and mode that udev gives it. Without udev it is root's alone: libvirtd's probe of QEMU may
# open it all the same, its check for changes finds that QEMU may not, and so it probes anew, for seconds, at every call.
open_kvm() {
    if [ -e /dev/kvm ] && getent group kvm >/dev/null; then
        read -ra kvm_was < <(stat --format '%u:%g %a' /dev/kvm)
        as_root chown root:kvm /dev/kvm
        as_root chmod 660 /dev/kvm
    fi
}

restore_kvm() {
    if [ ${#kvm_was[@]} -eq 2 ]; then
        as_root chown "${kvm_was[0]}" /dev/kvm
        as_root chmod "${kvm_was[1]}" /dev/kvm
        kvm_was=()
    fi
}

# Starts libvirt if nobody answers at qemu:///system. There may be no systemd.
start_libvirt() {
    local daemon
    libvirt_answers || need_root "libvirt's qemu:///system" "let root start libvirtd, and put you into the group libvirt"
    if system_virsh version >/dev/null 2>&1; then
        return
    fi
    [ -d /run/systemd/system ] || open_kvm
    for daemon in virtlogd libvirtd; do
        if [ -d /run/systemd/system ]; then
            systemctl --quiet is-active "$daemon" || { as_root systemctl start "$daemon" && started_daemons+=("$daemon"); }
        elif as_root "$daemon" --daemon 2>/dev/null; then
            started_daemons+=("$daemon")
        fi
    done
    for _ in {1..100}; do
        if system_virsh version >/dev/null 2>&1; then
            return
        fi
        sleep 0.1
    done
    fail "libvirtd was started but does not answer; its log is in /var/log/libvirt or the journal"
}

# Starts libvirt's default network if it is there and not active. False when that cannot be done.
start_network() {
    local state
    state=$(system_virsh net-info default 2>/dev/null) || return
    if [[ ! $state =~ Active:\ +yes ]]; then
        system_virsh net-start default >/dev/null 2>&1 || return
        started_network=yes
    fi
}

# Stops what start_network and start_libvirt started, and nothing else.
stop_libvirt() {
    local place daemon
    if [ -n "$started_network" ]; then
        system_virsh net-destroy default >/dev/null
        started_network=
    fi
    for ((place = ${#started_daemons[@]} - 1; place >= 0; place--)); do
        daemon=${started_daemons[place]}
        if [ -d /run/systemd/system ]; then
            as_root systemctl stop "$daemon" 2>/dev/null # its socket stays, as it was
        else
            as_root bash -c "kill \$(cat /run/$daemon.pid)"
        fi
    done
    started_daemons=()
    restore_kvm
}
