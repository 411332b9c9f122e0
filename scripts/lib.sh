# Shared by the scripts beside this file, which source it: finds a Python, installs what the system lacks, and keeps the
# virtual environment up to date in which everything is built, run and tested. POSIX sh; what it says goes to stderr.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$root"

say() { printf '%s\n' "${0##*/}: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# usage: the comment at the head of the script.
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p;}' "$0"; }

# --- Python ----------------------------------------------------------------------------------------------------------

# Prints "MINOR VERSION COMPLETE PATH" of a Python that can build ioring; COMPLETE says that it needs no more packages.
describe_python() {
    "$1" -IS -c '
import importlib.util, os, sys, sysconfig
version = sys.version_info
if sys.implementation.name != "cpython" or not (3, 11) <= version[:2] or sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit(1)
header = os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))
complete = header and importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")
print("%d.%d" % version[:2], "%d.%d.%d-%s-%d" % version, "yes" if complete else "no", sys._base_executable)
' 2>/dev/null
}

# Describes $PYTHON, the python3 of PATH, or the newest there is; installs one where there is none.
default_python() {
    if [ -n "${PYTHON:-}" ]; then
        describe_python "$PYTHON" || die "PYTHON=$PYTHON is not a CPython 3.11 or later"
        return
    fi
    for candidate in python3 python3.15 python3.14 python3.13 python3.12 python3.11; do
        describe_python "$candidate" && return
    done
    install_packages python3
    describe_python /usr/bin/python3 || die "Python 3.11 or later is needed"
}

# --- what the system has to provide ----------------------------------------------------------------------------------

# Sets as_root to what makes a command run as root; fails when nothing does.
can_install() {
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        return 1
    fi
}

# Installs Debian packages, or says what to type and ends the script.
install_packages() {
    can_install || {
        line="apt-get update && apt-get install -y --no-install-recommends $*"
        command -v apt-get >/dev/null || die "needed and not installed (by their names in Debian): $*"
        say "needed and not installed: $*. Type this, then start again:"
        if command -v sudo >/dev/null; then become_root="sudo sh"; else become_root=su; fi
        printf '%s\n' "$become_root -c '$line'" >&2
        exit 1
    }
    say "installing $*"
    mkdir -p build
    get="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300"
    # Package lists are fetched only when the ones at hand will not do.
    # shellcheck disable=SC2086
    $get install --no-install-recommends "$@" >build/apt.log 2>&1 </dev/null || {
        $get update && $get install --no-install-recommends "$@"
    } >build/apt.log 2>&1 </dev/null || {
        cat build/apt.log >&2
        die "could not install $*"
    }
}

# compiles SOURCE [FLAG...]: whether the compiler that built Python makes a program of SOURCE.
compiles() {
    compiler=${CC:-$("$python" -IS -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
    source=$1
    shift
    # shellcheck disable=SC2086
    printf '%b' "$source" | $compiler "$@" -x c - -o /dev/null 2>/dev/null
}

# What building needs, for the Python that $minor, $complete and $python describe.
require_compiler() {
    packages=
    compiles '#include <stdio.h>\n#include <linux/types.h>\nint main(void) { return 0; }' || packages="gcc libc6-dev"
    if [ "$complete" = no ]; then
        case $python in
        /usr/bin/*) packages="$packages python$minor-dev python$minor-venv" ;;
        *) die "$python lacks its headers (Python.h) or its venv module; name another Python with PYTHON=..." ;;
        esac
    fi
    # shellcheck disable=SC2086
    [ -z "$packages" ] || install_packages $packages
}

# What the tests need: packages.txt says for which programs. Where nothing can be installed, those tests are skipped
# whose programs are missing; everywhere else such a skip is an error.
require_test_programs() {
    missing=
    for package in $(sed 's/#.*//' tests/packages.txt); do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    if [ -n "$missing" ] && ! can_install; then
        say "not installed:$missing. The tests that need them will be skipped"
        return
    fi
    # shellcheck disable=SC2086
    [ -z "$missing" ] || install_packages $missing
    export IORING_TEST_COMPLETE=1
}

# --- a Debian in a folder --------------------------------------------------------------------------------------------

debian_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# make_debian SUITE FOLDER: a new Debian, with the name server and the certificates that this machine trusts. Needs root.
make_debian() {
    command -v debootstrap >/dev/null || install_packages debootstrap
    say "making a Debian: $1"
    mkdir -p build
    # debootstrap may be older than the release and not know it; all releases are made in one way.
    debootstrap --variant=minbase "$1" "$2" http://deb.debian.org/debian \
        /usr/share/debootstrap/scripts/sid >build/debootstrap.log 2>&1 || {
        tail -n 20 build/debootstrap.log >&2
        die "debootstrap failed"
    }
    cp /etc/resolv.conf "$2/etc/resolv.conf"
    trusted=/etc/ssl/certs/ca-certificates.crt
    if [ -f $trusted ]; then
        mkdir -p "$2/usr/local/share/trusted"
        cp $trusted "$2/usr/local/share/trusted/"
        printf '[global]\ncert = /usr/local/share/trusted/ca-certificates.crt\n' >"$2/etc/pip.conf"
    fi
}

# --- the environment -------------------------------------------------------------------------------------------------

# pip in $venv; silent unless it fails.
quiet_pip() {
    PIP_USER=0 "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" >build/pip.log 2>&1 </dev/null || {
        cat build/pip.log >&2
        return 1
    }
}

# ensure_venv VENV EXTRA: sets venv, in which ioring is installed from src/ as it is now, with the packages of EXTRA.
#
# Its stamp is written last: which Python made it, and a hash of pyproject.toml with the extras that it has.
ensure_venv() {
    venv=$root/$1 extra=$2
    found=$(default_python) || exit
    read -r minor version complete python <<EOF
$found
EOF
    require_compiler
    [ "$extra" != dev ] || require_test_programs
    # Two scripts that start at once share the environment; the second waits.
    mkdir -p build
    exec 9>build/lock
    ! command -v flock >/dev/null || flock 9

    made='' hash='' extras=''
    [ ! -f "$venv/ioring.stamp" ] || { read -r made && read -r hash && read -r extras; } <"$venv/ioring.stamp" || made=''
    made_now="$version $python $root" hash_now=$(sha256sum <pyproject.toml)
    if [ "$made" != "$made_now" ]; then
        say "making $1 with Python $minor"
        rm -rf "$venv"
        "$python" -m venv "$venv" >build/pip.log 2>&1 || {
            cat build/pip.log >&2
            die "could not make $1"
        }
        hash='' extras=''
    fi
    case " $extras " in
    *" $extra "*) ;;
    *) hash='' extras="${extras:+$extras }$extra" ;;
    esac
    if [ "$hash" != "$hash_now" ]; then
        say "installing what ioring[$extra] needs"
        rm -f "$venv/ioring.stamp"
        quiet_pip install -q $("$venv/bin/python" -c '
import tomllib
print(*(name.replace(" ", "") for name in tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"]))
') || die "could not install what building needs"
        say "building ioring for Python $minor in $1"
        quiet_pip install -q --no-build-isolation --root-user-action=ignore \
            -e ".[$(echo "$extras" | tr ' ' ,)]" || die "could not build ioring in $1"
        printf '%s\n' "$made_now" "$hash_now" "$extras" >"$venv/ioring.stamp"
    else
        # Compiles only what has changed.
        "$venv/bin/python" setup.py -q build_ext --inplace >build/compile.log 2>&1 || {
            cat build/compile.log >&2
            die "could not build ioring in $1"
        }
    fi
    exec 9>&-
}
