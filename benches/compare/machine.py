"""What was measured on: the figures of one machine say little about another's."""
import datetime
import os
import platform
import re
import subprocess

# What a machine that does nothing else is below, a minute on average.
QUIET = 0.5


def said(command, pattern):
    """The first group of `pattern` in what a program prints, or None where there is no such program."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(pattern, done.stdout)
    return found.group(1) if found else None


def line(path, pattern=r'(.*)'):
    try:
        with open(path, encoding='utf-8') as file:
            found = re.search(pattern, file.read())
    except OSError:
        return None
    return found.group(1).strip() if found else None


def stolen():
    """Ticks that a hypervisor gave to others, and all ticks."""
    fields = [int(field) for field in line('/proc/stat', r'cpu +(.*)').split()]
    return fields[7], sum(fields[:8])


def describe(binaries):
    """A dictionary, in the order in which it is shown."""
    return {
        'when': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC'),
        'processor': line('/proc/cpuinfo', r'model name\s*:(.*)') or platform.machine(),
        'cores': os.cpu_count(),
        'governor': line('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor') or 'not told',
        'kernel': f'{platform.system()} {platform.release()}',
        'libc': ' '.join(platform.libc_ver()),
        'load before': ' '.join(f'{load:.2f}' for load in os.getloadavg())
                       + (' (NOT QUIET: take none of these figures for granted)' if os.getloadavg()[0] > QUIET else ''),
        'nginx': said(['nginx', '-v'], r'nginx/(\S+)'),
        'haproxy': said(['haproxy', '-v'], r'version (\S+)'),
        'wrk': said(['wrk', '-v'], r'wrk (\S+)'),
        'openssl': said(['openssl', 'version'], r'OpenSSL (\S+)'),
        **{name: said([binary, '--version'], r'(\S+)$') for name, binary in binaries.items()},
    }
