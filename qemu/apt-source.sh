# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# apt for source packages (or for packages of another architecture) without
# touching the system that it runs on. To be sourced by bash.
#
# The machine's own entries are converted into private ones: proxies,
# credentials, keys and pins of the machine stay in force, no host name is
# known here, and the lists and the cache are our own. So no root is needed.
#
#   sdm_apt_setup DIR deb-src && sdm_apt DIR apt-get update &&
#   sdm_apt DIR apt-get source --download-only qemu; rm -rf DIR
#
# Both styles of entries are understood, see sources.list(5).

# sdm_apt_list TYPE [ARCH] <one-line style >one-line style
#
# Every active entry, deb or deb-src, becomes one of TYPE (deb or deb-src);
# ARCH replaces the architectures it is limited to.
sdm_apt_list() {
    awk -v type="$1" -v arch="${2:-}" '
        { sub(/\r$/, "") }
        !/^[ \t]*(deb|deb-src)[ \t]/ { next }
        {
            sub(/^[ \t]*(deb|deb-src)[ \t]+/, "")
            sub(/[ \t]+#.*$/, "")
            options = ""
            if (match($0, /^\[[^\]]*\]/)) {
                options = substr($0, 2, RLENGTH - 2)
                $0 = substr($0, RLENGTH + 1)
                sub(/^[ \t]+/, "")
            }
            if (/^cdrom:/) {
                next
            }
            if (arch != "") {
                n = split(options, word, /[ \t]+/)
                options = "arch=" arch
                for (i = 1; i <= n; i++) {
                    if (word[i] != "" && word[i] !~ /^arch[-+]?=/) {
                        options = options " " word[i]
                    }
                }
            }
            sub(/^[ \t]+/, "", options)
            sub(/[ \t]+$/, "", options)
            entry = type " " (options == "" ? "" : "[" options "] ") $0
            # deb and deb-src of one archive are one entry now.
            if (!(entry in seen)) {
                seen[entry] = 1
                print entry
            }
        }'
}

# sdm_apt_deb822 TYPE [ARCH] <deb822 style >deb822 style
#
# The same for stanzas. One that says "Enabled: no" is left out.
sdm_apt_deb822() {
    awk -v type="$1" -v arch="${2:-}" '
        function flush() {
            if (types ~ /(^|[ \t])(deb|deb-src)([ \t]|$)/ && !off &&
                !(body in seen)) {
                seen[body] = 1
                printf "Types: %s\n", type
                if (arch != "") {
                    printf "Architectures: %s\n", arch
                }
                printf "%s\n", body
            }
            types = body = field = ""
            off = 0
        }
        function value(text) {
            if (field == "types") {
                types = types " " text
            } else if (field == "enabled") {
                gsub(/[ \t]/, "", text)
                off = tolower(text) ~ /^(no|false|without|off|disable|0)$/
            } else if (field != "architectures" || arch == "") {
                return 1
            }
            return 0
        }
        { sub(/\r$/, "") }
        /^#/ { next }
        /^[ \t]*$/ { flush(); next }
        /^[ \t]/ {
            if (value($0)) {
                body = body $0 "\n"
            }
            next
        }
        {
            colon = index($0, ":")
            field = tolower(substr($0, 1, colon - 1))
            sub(/[ \t]+$/, "", field)
            if (value(substr($0, colon + 1))) {
                body = body $0 "\n"
            }
        }
        END { flush() }'
}

# sdm_apt_setup DIR TYPE [ARCH]
#
# Makes DIR (emptied if it is there) apt's private state: converted entries,
# lists, cache, configuration. Prints what is wrong on stderr and fails when
# there is no apt, or no active entry to convert. $SDM_APT_LIST and
# $SDM_APT_PARTS stand in for the machine's sources.list and sources.list.d.
sdm_apt_setup() {
    local dir=$1 type=$2 arch=${3:-} SDM_LIST='' SDM_PARTS='' file name

    if ! command -v apt-config >/dev/null; then
        echo "apt is not on this system" >&2
        return 1
    fi
    eval "$(apt-config shell SDM_LIST Dir::Etc::sourcelist/f \
                             SDM_PARTS Dir::Etc::sourceparts/d)"
    SDM_LIST=${SDM_APT_LIST-$SDM_LIST}
    SDM_PARTS=${SDM_APT_PARTS-$SDM_PARTS}

    rm -rf "$dir" || return 1
    mkdir -p "$dir/sources.list.d" "$dir/lists/partial" \
             "$dir/cache/archives/partial" || return 1
    dir=$(cd "$dir" && pwd) || return 1

    for file in "$SDM_LIST" "${SDM_PARTS%/}"/*; do
        name=${file##*/}
        # apt reads no other names.
        [[ -r $file && $name =~ ^[A-Za-z0-9_.-]+\.(list|sources)$ ]] || continue
        if [ "$file" = "$SDM_LIST" ]; then
            name=00-$name
        fi
        case $name in
        *.sources) sdm_apt_deb822 "$type" "$arch" ;;
        *) sdm_apt_list "$type" "$arch" ;;
        esac <"$file" >"$dir/sources.list.d/$name" || return 1
        [ -s "$dir/sources.list.d/$name" ] || rm "$dir/sources.list.d/$name"
    done
    if [ -z "$(ls -A "$dir/sources.list.d")" ]; then
        echo "no active entry in $SDM_LIST nor in $SDM_PARTS" >&2
        return 1
    fi

    # Hooks of the machine clean its own caches, or need root: not for us.
    cat >"$dir/apt.conf" <<-CONF
	Dir::Etc::sourcelist "/dev/null";
	Dir::Etc::sourceparts "$dir/sources.list.d/";
	Dir::State::Lists "$dir/lists/";
	Dir::Cache "$dir/cache/";
	#clear APT::Update::Pre-Invoke;
	#clear APT::Update::Post-Invoke;
	#clear APT::Update::Post-Invoke-Success;
	CONF
    if [ -n "$arch" ]; then
        cat >>"$dir/apt.conf" <<-CONF
	#clear APT::Architectures;
	APT::Architectures { "$(dpkg --print-architecture)"; "$arch"; };
	CONF
    fi
}

# sdm_apt DIR TOOL [ARGUMENT...]: apt-get or apt-cache with DIR's state.
# Judge apt-get update by what can be found after it, not by its exit status:
# one unreachable archive that has nothing to do with us makes it fail.
sdm_apt() {
    local dir=$1 tool=$2
    shift 2
    "$tool" -c "$(cd "$dir" && pwd)/apt.conf" "$@"
}
