# Completion of the troupe command for bash.
_troupe()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command=${COMP_WORDS[1]} options="--node --timeout --json --help"
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "call check drain evict get kinds load members rebalance ring status transfers why --help --version" -- "$word")
        return
    fi
    case $before in
    --ack) mapfile -t COMPREPLY < <(compgen -W "memory replica durable" -- "$word") && return ;;
    --errors | --replies) mapfile -t COMPREPLY < <(compgen -f -- "$word") && return ;;
    --node | --timeout | --wait | --partition | --batch | --in-flight) return ;;
    esac
    case $command in
    call) options+=" --ack --no-id" ;;
    drain) options+=" --cancel --no-wait --wait" ;;
    load) options+=" --batch --in-flight --ack --errors --replies --strict" ;;
    members) options+=" --watch" ;;
    rebalance) options+=" --plan" ;;
    ring) options+=" --partitions --watch" ;;
    status) options+=" --one --watch" ;;
    evict) options+=" --yes" ;;
    kinds) options+=" --yes" ;;
    transfers) options+=" --watch" ;;
    why) options+=" --partition" ;;
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [ "$command" = load ]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}
complete -F _troupe troupe
