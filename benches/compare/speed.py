"""`speed`: what a request costs through each proxy, closed loop, one worker each on a core of its own."""
import statistics

import load
import machine
import proxies
import report
from processes import Failed, free_port, memory, nanoseconds, spent_since
from verifier import Verifier

COLUMNS = ['proxy', 'requests/s', 'p50 µs', 'p99 µs', 'added p50 µs', 'CPU µs/request', 'MiB idle', 'MiB after', 'start ms']


def speed(run, options):
    """Every body size, every round, every proxy in turn, so that a noisy machine is noisy for all of them."""
    described, stolen = machine.describe(proxies.binaries(options)), machine.stolen()
    chosen = proxies.chosen(options)
    verifier = Verifier()
    for proxy in chosen:
        if proxy.signs:
            verified = verifier.check(run, proxy, options.bodies)
            print(f'{proxy.name}: {verified} signatures verified byte for byte')
    upstream = proxies.upstream(run)
    sizes, told, refused = {}, {}, {}
    for size in options.bodies:
        rows = sizes[size] = {name: {'rps': [], 'p50': [], 'p99': [], 'one': [], 'added': [], 'cpu': []}
                              for name in ('direct', *(proxy.name for proxy in chosen))}
        live = {}
        for number in range(options.rounds):
            # One start and the next of the same program differ by up to a third, by where its memory comes to lie.
            if number * options.starts % options.rounds < options.starts:
                ended(run, live, rows)
                live = begun(run, options, chosen, upstream, size, told)
            errors = {}
            for name, (process, port) in live.items():
                if name not in refused:
                    errors[name] = measured(run, options, process, port, size, rows[name])
            if errors['direct']:
                raise Failed(f'the upstream answered {errors["direct"]} errors where no proxy is')
            ports = {name: live[name][1] for name in errors}
            # As long as a third of the round of each would be, for all of them in turns.
            alone = load.alone(run, list(ports.values()), size, options.seconds * len(ports) / 3)
            for name, port in ports.items():
                rows[name]['one'].append(alone[port]['p50'])
                if name != 'direct':
                    rows[name]['added'].append(alone[port]['added'])
                errors[name] += alone[port]['errors']
                if errors[name]:
                    refused[name] = f'{errors[name]} errors in a round of {size} bytes'
            run.shorten_logs()
            print(f'{size} bytes: round {number + 1} of {options.rounds}', flush=True)
        ended(run, live, rows)
    now = machine.stolen()
    described['stolen'] = f'{100 * (now[0] - stolen[0]) / max(1, now[1] - stolen[1]):.1f} %'
    values = {'what': 'speed', 'machine': described, 'connections': options.connections, 'rounds': options.rounds,
              'starts': options.starts, 'seconds': options.seconds, 'proxies': told, 'refused': refused,
              'bodies': {str(size): summed_up(rows, refused) for size, rows in sizes.items()}}
    report.write(options, 'speed', shown(values), values)
    if refused:
        raise Failed('not reported, because they answered errors: ' + ', '.join(refused))


def begun(run, options, chosen, upstream, size, told):
    """A start of each proxy, warm; into `told` what is told of the first."""
    live = {'direct': (None, upstream)}
    for proxy in chosen:
        port = free_port()
        process = proxy.start(run, port, upstream)
        live[proxy.name] = (process, port)
        told.setdefault(proxy.name, {'start_ms': process.start_ms, 'idle': memory(process.pid), 'signs': proxy.signs})
    for _, port in live.values():
        load.wrk(run, port, size, 1, options.connections)
    return live


def ended(run, live, rows):
    """Ends a start, and notes what memory each proxy had."""
    for name, (process, _) in live.items():
        if process:
            rows[name]['after'] = memory(process.pid)
            run.stop(process)


def measured(run, options, process, port, size, row):
    """One round of one proxy under load, into `row`; how many errors there were."""
    before = nanoseconds(process.pid) if process else {}
    result = load.wrk(run, port, size, options.seconds, options.connections)
    spent = spent_since(before, process.pid) if process else None
    row['rps'].append(result['requests'] / result['us'] * 1e6)
    row['p50'].append(result['p50'])
    row['p99'].append(result['p99'])
    if spent is not None:
        row['cpu'].append(spent / result['requests'] * 1e6)
    return result['errors']


def summed_up(rows, refused):
    """Medians over the rounds, how far the CPU's rounds lie apart, and the ratio of CPU to that of each other proxy."""
    summed = {}
    for name, row in rows.items():
        if name in refused:
            continue
        summed[name] = {key: statistics.median(values) for key, values in row.items() if isinstance(values, list) and values}
        if row['cpu']:
            summed[name]['cpu_from'], summed[name]['cpu_to'] = min(row['cpu']), max(row['cpu'])
            summed[name]['after'] = row['after']
    for name, row in summed.items():
        row['ratios'] = {other: row['cpu'] / summed[other]['cpu'] for other in summed if other != name and 'cpu' in row
                         and 'cpu' in summed[other]}
    return summed


def mib(told):
    return None if told is None else told['pss'] if told['pss'] is not None else told['rss']


def shown(values):
    parts = [report.machine(values['machine'])]
    for size, rows in values['bodies'].items():
        cells = []
        for name, row in rows.items():
            own = values['proxies'].get(name, {})
            cells.append([name + ('' if own.get('signs', True) and own else ', no signing' if own else ''),
                          report.number(row['rps']), report.number(row['p50']), report.number(row['p99']),
                          report.number(row.get('added')), report.number(row.get('cpu'), 1),
                          report.number(mib(own.get('idle')), 1), report.number(mib(row.get('after')), 1),
                          report.number(own.get('start_ms'))])
        parts.append(f'**{int(size):,} bytes**, {values["connections"]} connections, medians of {values["rounds"]} rounds '
                     f'of {values["seconds"]} s, in {values.get("starts", 1)} starts\n\n' + report.table(COLUMNS, cells))
        names = [name for name in rows if name != 'direct']
        parts.append('CPU per request of the row, in that of the column:\n\n' + report.table(
            ['', *names], [[name, *(report.number(rows[name]['ratios'].get(other), 2) for other in names)] for name in names]))
    for name, why in values['refused'].items():
        parts.append(f'{name}: not reported, {why}')
    return '\n\n'.join(parts)
