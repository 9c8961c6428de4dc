"""`idle`, `steady` and `burst`: what stays in memory with connections that do nothing, over a long run, and after a rush."""
import socket
import statistics
import time

import load
import machine
import proxies
import report
from processes import Failed, free_port, memory, open_many_files
from verifier import TARGET, Verifier, body


def started(run, proxy, upstream, size):
    """The proxy, verified and warm: its port and process."""
    if proxy.signs:
        Verifier().check(run, proxy, [size])
    port = free_port()
    process = proxy.start(run, port, upstream)
    process.cold = memory(process.pid)['rss']
    result = load.wrk(run, port, size, 2, 64)
    if result['errors']:
        raise Failed(f'{proxy.name} answered {result["errors"]} errors: it is not reported')
    run.shorten_logs()
    return port, process


def answered(connection, request):
    """Posts, and reads a whole answer."""
    connection.sendall(request)
    read = b''
    while b'\r\n\r\n' not in read:
        piece = connection.recv(65536)
        if not piece:
            raise Failed('a connection was closed in place of an answer')
        read += piece
    head, rest = read.split(b'\r\n\r\n', 1)
    if not head.startswith(b'HTTP/1.1 200'):
        raise Failed('answered with ' + head.split(b'\r\n')[0].decode())
    lengths = [int(line[15:]) for line in head.lower().split(b'\r\n') if line.startswith(b'content-length:')]
    while lengths and len(rest) < lengths[0]:
        rest += connection.recv(65536)


def settled(process, seconds, least=None):
    """Memory when it has stopped falling, or has fallen to `least`, or the seconds are over."""
    end, lowest, since = time.monotonic() + seconds, float('inf'), time.monotonic()
    while time.monotonic() < end and time.monotonic() - since < 15:
        now = memory(process.pid)['rss']
        if now < lowest - 0.1:
            lowest, since = now, time.monotonic()
        if least is not None and now <= least:
            return now
        time.sleep(0.25)
    return min(lowest, memory(process.pid)['rss'])


def idle(run, options):
    """Resident memory per connection that is only there, and per one that had an exchange and stays."""
    files = open_many_files()
    if files < 2 * options.idle_connections + 200:
        raise Failed(f'{options.idle_connections} connections need more open files than {files}: raise ulimit -Hn')
    described = machine.describe(proxies.binaries(options))
    upstream, size = proxies.upstream(run), options.bodies[0]
    values = {'what': 'idle', 'machine': described, 'connections': options.idle_connections, 'proxies': {}}
    for proxy in proxies.chosen(options):
        port, process = started(run, proxy, upstream, size)
        head = f'POST {TARGET} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n'
        before = memory(process.pid)['rss']
        row = {'start': process.cold, 'before': before}
        opened = []
        try:
            for _ in range(options.idle_connections):
                opened.append(socket.create_connection(('127.0.0.1', port), 10))
            time.sleep(1)
            row['silent'] = (memory(process.pid)['rss'] - before) * 1024 / len(opened)
            for connection in opened:
                answered(connection, head.encode() + body(size))
            # All of them are still there, or this measures nothing.
            for connection in opened:
                connection.setblocking(False)
                try:
                    if connection.recv(1) == b'':
                        raise Failed(f'{proxy.name} closed an idle connection')
                except BlockingIOError:
                    pass
            row['used'] = (memory(process.pid)['rss'] - before) * 1024 / len(opened)
        finally:
            for connection in opened:
                connection.close()
        row['after'] = settled(process, 30, before)
        run.stop(process)
        values['proxies'][proxy.name] = row
    rows = [[name, *(report.number(row[key], 1) for key in ('start', 'before', 'silent', 'used', 'after'))]
            for name, row in values['proxies'].items()]
    columns = ['proxy', 'MiB at the start', 'MiB warm', 'KiB per connection', 'KiB per connection after an exchange',
               'MiB when they are closed']
    text = f'{options.idle_connections:,} connections, resident memory.\n\n' + report.table(columns, rows)
    report.write(options, 'idle', report.machine(described) + '\n\n' + text, values)


def steady(run, options):
    """Whether memory grows over many requests: the median of the second quarter against that of the last."""
    described = machine.describe(proxies.binaries(options))
    upstream, size = proxies.upstream(run), options.bodies[0]
    values = {'what': 'steady', 'machine': described, 'requests': options.requests, 'proxies': {}}
    growing = []
    for proxy in proxies.chosen(options, peers=False):
        port, process = started(run, proxy, upstream, size)
        done, samples = 0, []
        while done < options.requests:
            # In pieces: the first tells how long the rest takes.
            seconds = 5 if not samples else min(10, max(1, (options.requests - done) / samples[-1][2]))
            result = load.wrk(run, port, size, seconds, options.connections)
            if result['errors']:
                raise Failed(f'{proxy.name} answered {result["errors"]} errors after {done:,} requests')
            done += result['requests']
            samples.append((done, memory(process.pid)['rss'], result['requests'] / result['us'] * 1e6))
            run.shorten_logs()
        run.stop(process)
        sampled = [mib for _, mib, _ in samples]
        quarter = max(1, len(sampled) // 4)
        then, now = statistics.median(sampled[quarter:2 * quarter] or sampled), statistics.median(sampled[-quarter:])
        values['proxies'][proxy.name] = {'requests': done, 'start': process.cold, 'second_quarter': then, 'last_quarter': now,
                                         'most': max(sampled), 'samples': samples}
        if now - then > options.growth:
            growing.append(f'{proxy.name} by {now - then:.1f} MiB')
    rows = [[name, f'{row["requests"]:,}', *(report.number(row[key], 1) for key in ('start', 'second_quarter', 'last_quarter', 'most'))]
            for name, row in values['proxies'].items()]
    columns = ['proxy', 'requests', 'MiB at the start', 'MiB in the second quarter', 'MiB in the last quarter', 'MiB at most']
    report.write(options, 'steady', report.machine(described) + '\n\n' + report.table(columns, rows), values)
    if growing:
        raise Failed('memory grew: ' + ', '.join(growing))


def burst(run, options):
    """Whether memory comes back after a rush of large bodies on many connections."""
    described = machine.describe(proxies.binaries(options))
    upstream, size = proxies.upstream(run), max(options.bodies)
    values = {'what': 'burst', 'machine': described, 'connections': options.burst_connections, 'bytes': size, 'proxies': {}}
    for proxy in proxies.chosen(options):
        port, process = started(run, proxy, upstream, size)
        before = settled(process, 20)
        result = load.wrk(run, port, size, options.seconds, options.burst_connections)
        if result['errors']:
            raise Failed(f'{proxy.name} answered {result["errors"]} errors: it is not reported')
        peak, start = memory(process.pid)['rss'], time.monotonic()
        after = settled(process, options.settle, before)
        values['proxies'][proxy.name] = {'start': process.cold, 'before': before, 'peak': peak, 'after': after,
                                         'seconds': time.monotonic() - start}
        run.stop(process)
        run.shorten_logs()
    rows = [[name, *(report.number(row[key], 1) for key in ('start', 'before', 'peak', 'after', 'seconds'))]
            for name, row in values['proxies'].items()]
    columns = ['proxy', 'MiB at the start', 'MiB warm', 'MiB at the end of the rush', 'MiB later', 'which took s']
    text = f'{options.burst_connections} connections with {size:,} bytes each for {options.seconds} s.\n\n'
    report.write(options, 'burst', report.machine(described) + '\n\n' + text + report.table(columns, rows), values)
