#!/usr/bin/env python3
"""Counts the instructions of what is dearest by callgrind, and holds them to benches/instructions.json: no noise of a machine
hides a regression there.

  benches/instructions.py             fails where something takes more than the tolerance more than it did
  benches/instructions.py --write     writes the counts as those to hold to; commit them with the change that explains them

Each count is the difference between a run of N and one of 2 N, so that starting costs nothing. `exchange` is the command `serve`
with logs and metrics; what its caller and its upstream do is left out. What the kernel does is not counted at all.

The counts depend on what the processor offers (valgrind knows AVX2, not AVX-512), on libc and on the compiler. So they are
compared on x86-64 with AVX2 alone, and the compiler that they are from is written down beside them.
"""
import argparse
import glob
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BASELINE = f'{HERE}/instructions.json'
TOLERANCE = 0.05
# What signing may cost in what its cryptography costs.
MOST = 1.15
SIZES = (0, 300, 4096, 65536, 1 << 20)
# What, at how many bytes, and N.
CASES = ([('sign', size, 20 if size > 9999 else 400) for size in SIZES]
         + [('cryptography', size, 20 if size > 9999 else 400) for size in SIZES]
         + [('verify', 300, 400), ('decide', 0, 20000), ('exchange', 300, 1000), ('exchange', 4096, 1000), ('exchange', 65536, 300)])
# The first threads that `exchange` starts are its upstream's four and its caller; the main thread is the first of all.
STRANGERS = range(2, 7)


def program():
    """The bench, built as releases are."""
    built = subprocess.run(['cargo', 'bench', '--profile', 'measured', '--locked', '--no-run', '--bench', 'instructions', '--message-format', 'json'],
                           stdout=subprocess.PIPE, text=True, check=True, cwd=f'{HERE}/..')
    for line in built.stdout.splitlines():
        told = json.loads(line)
        if told.get('reason') == 'compiler-artifact' and told['target']['name'] == 'instructions' and told['executable']:
            return told['executable']
    sys.exit('cargo built no bench of the name instructions')


def counted(binary, what, size, times):
    """Instructions of one run."""
    # Nothing that configures a proxy; and what `exchange` writes goes with the folder.
    clean = {name: value for name, value in os.environ.items() if not name.startswith('INGO_PROXY__') and name != 'RUST_LOG'}
    with tempfile.TemporaryDirectory(prefix='instructions-') as folder:
        command = ['valgrind', '--tool=callgrind', '--separate-threads=yes', '--fair-sched=try', '-q',
                   f'--callgrind-out-file={folder}/out', binary, what, str(size), str(times)]
        # A log is a file here, as in production it is a pipe: not a terminal.
        with open(f'{folder}/log', 'wb') as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.PIPE, text=True, timeout=600, check=False,
                                  env={**clean, 'TMPDIR': folder})
        if done.returncode != 0:
            sys.exit(f'{" ".join(command)} ended with {done.returncode}:\n{done.stderr}')
        total = 0
        for file in glob.glob(f'{folder}/out-*'):
            thread = int(file.rsplit('-', 1)[1])
            if what == 'exchange' and thread in STRANGERS:
                continue
            with open(file, encoding='utf-8', errors='replace') as counts:
                found = re.search(r'^(?:summary|totals): (\d+)', counts.read(), re.M)
            total += int(found.group(1))
        return total


def measured(binary, cases):
    counts = {}
    for what, size, times in cases:
        name = what if what == 'decide' else f'{what} {size}'
        once, twice = (counted(binary, what, size, n) for n in (times, 2 * times))
        counts[name] = round((twice - once) / times)
        print(f'{name}: {counts[name]:,}', flush=True)
    return counts


def version(command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def compared(counts, baseline):
    """What is wrong, in words."""
    wrong = []
    for name, count in counts.items():
        before = baseline['counts'].get(name)
        if before is None:
            wrong.append(f'{name} has no count to be held to')
            continue
        change = count / before - 1 if before else 0
        if change > TOLERANCE:
            wrong.append(f'{name} takes {count:,} instructions, {100 * change:.1f} % more than the {before:,} written down')
        elif change < -TOLERANCE:
            print(f'{name} takes {-100 * change:.1f} % less than written down: `make bench-instructions-baseline` keeps that')
    # An empty body is refused before it is signed.
    for size in SIZES[1:]:
        ours, raw = counts.get(f'sign {size}'), counts.get(f'cryptography {size}')
        if ours and raw and ours > MOST * raw:
            wrong.append(f'signing {size} bytes takes {ours / raw:.2f} times what its cryptography takes, and may take {MOST}')
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--write', action='store_true', help='write the counts down')
    parser.add_argument('--only', help='only what this regular expression matches')
    parser.add_argument('--program', help='the bench, where it is built already')
    options = parser.parse_args()
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        able = platform.machine() == 'x86_64' and ' avx2 ' in file.read().replace('\n', ' ')
    if not shutil.which('valgrind') or not able:
        why = 'valgrind is not here' if able else 'they are written down for x86-64 with AVX2, and this is another processor'
        print(f'SKIPPED: instructions are not counted: {why}', file=sys.stderr)
        return
    cases = [case for case in CASES if not options.only or re.search(options.only, f'{case[0]} {case[1]}')]
    counts = measured(options.program or program(), cases)
    compiler = version(['rustc', '--version'])
    if options.write:
        if options.only:
            sys.exit('only all counts are written down')
        with open(BASELINE, 'w', encoding='utf-8') as file:
            told = {'compiler': compiler, 'valgrind': version(['valgrind', '--version']), 'libc': ' '.join(platform.libc_ver())}
            json.dump({**told, 'counts': counts}, file, indent=1)
            file.write('\n')
        print(f'written: {BASELINE}')
        return
    with open(BASELINE, encoding='utf-8') as file:
        baseline = json.load(file)
    if baseline['compiler'] != compiler:
        print(f'the counts to hold to are from {baseline["compiler"]}, this is {compiler}')
    wrong = compared(counts, baseline)
    if wrong:
        sys.exit('more instructions than before:\n  ' + '\n  '.join(wrong)
                 + '\nmake it cheaper, or say in the commit why it is worth it and run: make bench-instructions-baseline')
    print(f'all {len(counts)} counts are within {100 * TOLERANCE:.0f} %')


main()
