# Shared by the scripts beside this file, which source it: finding Pythons, installing what is missing, keeping
# virtual environments up to date. POSIX sh; everything it says goes to stderr.
#
# An environment is trusted only by its stamp, three lines written last:
#   what the environment was made from, a hash of what was installed into it, the extras it has.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd -P)
cd "$root"

say() { printf '%s\n' "${0##*/}: $*" >&2; }
die() {
    say "$*"
    exit 1
}

# --- Pythons ---------------------------------------------------------------------------------------------------------

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

# Describes every Python from 3.11 to 3.14 of this machine, one for each minor version.
all_pythons() {
    (
        IFS=:
        # shellcheck disable=SC2086
        for bin in $PATH "$HOME"/.pyenv/versions/*/bin /usr/local/bin /usr/bin /opt/*/bin; do
            for candidate in "$bin/python3.11" "$bin/python3.12" "$bin/python3.13" "$bin/python3.14"; do
                [ -x "$candidate" ] && describe_python "$candidate" || :
            done
        done
    ) | sort -s -k1,1V -k3,3r | awk '!seen[$1]++' | while read -r minor version complete path; do
        case $complete,$path in
        no,/usr/bin/*) can_install || { say "leaving out $path: it lacks headers or venv" && continue; } ;;
        no,*) say "leaving out $path: it lacks headers or venv" && continue ;;
        esac
        echo "$minor $version $complete $path"
    done
}

# Describes the Python to use when nothing else is said: $PYTHON, the python3 of PATH, or the newest there is.
default_python() {
    if [ -n "${PYTHON:-}" ]; then
        describe_python "$PYTHON" || die "PYTHON=$PYTHON is not a CPython 3.11 or later"
        return
    fi
    describe_python python3 && return
    newest=$(all_pythons | tail -n 1)
    if [ -z "$newest" ]; then
        install_packages python3
        newest=$(describe_python /usr/bin/python3) || die "Python 3.11 or later is needed"
    fi
    echo "$newest"
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

# compiles PYTHON SOURCE [FLAG...]: whether the compiler that built that Python makes a program of SOURCE.
compiles() {
    compiler=${CC:-$("$1" -IS -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
    source=$2
    shift 2
    # shellcheck disable=SC2086
    printf '%b' "$source" | $compiler "$@" -x c - -o /dev/null 2>/dev/null
}

# require_tools MINOR COMPLETE PATH EXTRA: installs what building for that Python needs.
require_tools() {
    packages=
    compiles "$3" '#include <stdio.h>\n#include <linux/types.h>\nint main(void) { return 0; }' ||
        packages="gcc libc6-dev"
    if [ "$2" = no ]; then
        case $3 in
        /usr/bin/*) packages="$packages python$1-dev python$1-venv" ;;
        *) die "$3 lacks its headers (Python.h) or its venv module; name another Python with PYTHON=..." ;;
        esac
    fi
    if [ -n "${IORING_SANITIZE:-}" ] && [ -z "$packages" ]; then
        compiles "$3" 'int main(void) { return 0; }' -fsanitize=address,undefined ||
            die "the compiler has no sanitizers (libasan, libubsan); --no-sanitize does without them"
    fi
    # The tests compare with liburing. They can do without, so a machine where nothing can be installed still runs them.
    if [ "$4" = test ] && ! compiles "$3" '#include <liburing.h>\nint main(void) { return 0; }'; then
        if [ -n "$packages" ] || can_install; then
            packages="$packages liburing-dev"
        else
            say "liburing-dev is not installed: the tests that compare with it will be skipped"
        fi
    fi
    # shellcheck disable=SC2086
    [ -z "$packages" ] || install_packages $packages
    [ "$4" != test ] || offer_programs
}

# Real programs are tried with real servers, and the HTTP server with real clients, where they can be had. The tests
# start servers of their own.
offer_programs() {
    programs=
    command -v curl >/dev/null || programs="curl"
    command -v redis-server >/dev/null || programs="$programs redis-server"
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || programs="$programs postgresql"
    # shellcheck disable=SC2086
    [ -z "$programs" ] || offer $programs
    # By itself, since Ubuntu has it only as a snap, and where it cannot be had the others still can.
    command -v chromium >/dev/null || command -v chromium-browser >/dev/null || offer chromium
}

# offer PACKAGE...: installs them, or says that it is done without.
offer() {
    if ! can_install || ! (install_packages "$@"); then
        say "not installed: $*. The tests that need them will be skipped"
    fi
}

# --- virtual environments --------------------------------------------------------------------------------------------

# A hash of all that decides what gets installed.
source_hash() {
    {
        find src pyproject.toml setup.py \( -name __pycache__ -o -name '*.egg-info' \) -prune -o -type f \
            -exec sha256sum {} + | LC_ALL=C sort
        echo "${IORING_DEBUG:-} ${IORING_SANITIZE:-} ${CC:-} ${CFLAGS:-}"
    } | sha256sum
}

# pip in the environment $venv; silent unless it fails.
quiet_pip() {
    PIP_USER=0 "$venv/bin/python" -m pip --disable-pip-version-check --no-input "$@" >build/pip.log 2>&1 </dev/null || {
        cat build/pip.log >&2
        return 1
    }
}

install_ioring() {
    "$venv/bin/python" -c '
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")
' >build/requires.txt || return
    quiet_pip install -q -r build/requires.txt || return
    # Built here and not in pip's own throw-away environment, so that build/ saves the next build most of its work.
    quiet_pip install -q --no-deps --no-build-isolation . || return
    quiet_pip install -q --root-user-action=ignore "ioring[$(echo "$extras" | tr ' ' ,)]"
}

# ensure_venv VENV EXTRA "MINOR VERSION COMPLETE PATH": makes VENV have ioring as it is now, with EXTRA.
ensure_venv() {
    venv=$root/$1 extra=$2
    # shellcheck disable=SC2086
    read -r minor version complete python <<EOF
$3
EOF
    # Two scripts started at once share build/ and the environment; the second waits.
    mkdir -p build
    exec 9>build/lock
    command -v flock >/dev/null && flock 9

    made_now="$version $python $root" hash_now=$(source_hash)
    made='' hash='' extras=''
    if [ -x "$venv/bin/python" ] && [ -f "$venv/ioring.stamp" ]; then
        { read -r made && read -r hash && read -r extras; } <"$venv/ioring.stamp" || made=''
    fi
    [ "$made" = "$made_now" ] || hash='' extras=''
    case " $extras " in
    *" $extra "*) [ "$hash" != "$hash_now" ] || { exec 9>&- && return; } ;;
    *) extras="${extras:+$extras }$extra" ;;
    esac

    require_tools "$minor" "$complete" "$python" "$extra"
    say "building ioring for Python $minor in $1"
    rm -f "$venv/ioring.stamp"
    if [ "$made" != "$made_now" ]; then
        rm -rf "$venv"
        "$python" -m venv "$venv" >build/pip.log 2>&1 || {
            cat build/pip.log >&2
            die "could not make $1"
        }
    fi
    # A build that failed leaves a sound environment, so only the build is tried again. One that was interrupted leaves
    # no stamp, and is made anew.
    # The same for build/, where a half-written object file would pass for a new one.
    [ ! -e build/unfinished ] || rm -rf build/cython-* build/release build/debug build/sanitize
    : >build/unfinished
    result=0
    install_ioring || result=1 hash_now=failed
    rm build/unfinished
    printf '%s\n' "$made_now" "$hash_now" "$extras" >"$venv/ioring.stamp.new"
    mv "$venv/ioring.stamp.new" "$venv/ioring.stamp"
    exec 9>&-
    [ $result = 0 ] || die "could not build ioring in $1"
}
