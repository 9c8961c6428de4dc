"""The proxies that are compared, each with one way to be started: equal features, an access log in a file among them."""
import base64
import os
import shutil
import subprocess

from processes import Failed, clean_environment, cores, free_port
from verifier import SECRET, USERNAME

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PACKAGES = {'wrk': 'wrk', 'nginx': 'nginx', 'haproxy': 'haproxy', 'openssl': 'openssl'}
LUA = '/usr/lib/nginx/modules/ngx_http_lua_module.so'


def missing():
    """Debian packages that this machine lacks."""
    packages = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    return packages + ([] if os.path.exists(LUA) else ['libnginx-mod-http-lua'])


def require_programs():
    """As root on Debian what is missing is installed; otherwise it is said how."""
    packages = missing()
    if not packages:
        return
    install = ['apt-get', 'install', '-y', '--no-install-recommends', *packages]
    if os.geteuid() != 0 or not shutil.which('apt-get'):
        raise Failed('this machine lacks ' + ' '.join(packages) + '; install with: sudo ' + ' '.join(install))
    print('installing what this machine lacks:', *packages)
    environment = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}
    for command in (['apt-get', 'update', '-qq'], install):
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    if missing():
        raise Failed('these could not be installed: ' + ' '.join(missing()))


def filled(run, name, to, **values):
    """A configuration of peers/, with what stands between @ filled in."""
    kinds = ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi')
    values['TEMPORARY'] = ' '.join(f'{kind}_temp_path {run.path("temporary")}/{kind};' for kind in kinds)
    values['RUN'] = run.folder
    with open(f'{HERE}/peers/{name}', encoding='utf-8') as file:
        text = file.read()
    for key, value in values.items():
        text = text.replace(f'@{key}@', str(value))
    with open(run.path(to), 'w', encoding='utf-8') as file:
        file.write(text)
    # It holds the secret.
    os.chmod(run.path(to), 0o600)
    return run.path(to)


def secret_file(run):
    """The secret, by itself in a directory that nothing else is written to: ours watches it for a new secret."""
    secret = run.path('secret/secret')
    if not os.path.exists(secret):
        with open(secret, 'wb') as file:
            file.write(SECRET)
        os.chmod(secret, 0o600)
    return secret


class Proxy:
    """What all have in common. `ca` is the file of the authority for an upstream with TLS, else None."""
    signs = True

    def __init__(self, name):
        self.name = name
        self.starts = 0

    def start(self, run, port, upstream, threads=1, ca=None, on=None):
        self.starts += 1
        command, environment = self.command(run, port, upstream, threads, ca)
        return run.start(self.name, command, on or cores()[0], environment, port)


class Ours(Proxy):
    """The release binary as `serve` starts it: validation `warn`, metrics, access log and repeats are on by default."""

    def __init__(self, name, binary):
        super().__init__(name)
        self.binary = binary

    def command(self, run, port, upstream, threads, ca):
        environment = clean_environment()
        if ca:
            environment['INGO_PROXY__UPSTREAM__CA_FILE'] = ca
            environment['INGO_PROXY__UPSTREAM__SERVER_NAME'] = 'localhost'
        return [self.binary, 'serve', '--listen', f'127.0.0.1:{port}', '--health-listen', f'127.0.0.1:{free_port()}',
                '--upstream', f'http{"s" if ca else ""}://127.0.0.1:{upstream}', '--username', USERNAME,
                '--secret-file', secret_file(run), '--threads', str(threads), '--log-format', 'json'], environment


class Nginx(Proxy):
    """nginx, with Lua or as a plain pass-through."""

    def __init__(self, name, signs):
        super().__init__(name)
        self.signs = signs

    def command(self, run, port, upstream, threads, ca):
        tls = f'proxy_ssl_verify on; proxy_ssl_trusted_certificate {ca}; proxy_ssl_name localhost; ' \
              'proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.2 TLSv1.3;' if ca else ''
        file = filled(run, f'{self.name}.conf', f'{self.name}-{self.starts}.conf', THREADS=threads, PORT=port,
                      UPSTREAM_PORT=upstream, SECRET=SECRET.decode(), LOG=run.path(f'logs/{self.name}-access.log'),
                      UPSTREAM_TLS=tls, SCHEME='https' if ca else 'http')
        return ['nginx', '-p', run.folder, '-e', 'stderr', '-c', file], None


class Haproxy(Proxy):
    """HAProxy by its own converters."""

    def command(self, run, port, upstream, threads, ca):
        tls = f'ssl verify required ca-file {ca} sni str(localhost) verifyhost localhost' if ca else ''
        file = filled(run, 'haproxy.cfg', f'haproxy-{self.starts}.cfg', THREADS=threads, PORT=port, UPSTREAM_PORT=upstream,
                      SECRET_B64=base64.b64encode(SECRET).decode(), UPSTREAM_TLS=tls)
        return ['haproxy', '-f', file], None


class Custom(Proxy):
    """A command line of the reader's, which may name {port}, {upstream}, {secret}, {secret_file} and {threads}."""

    def __init__(self, name, words):
        super().__init__(name)
        self.words = words

    def command(self, run, port, upstream, threads, ca):
        if ca:
            raise Failed(f'{self.name}: a --proxy cannot be measured with TLS; a --binary can')
        words = self.words.format(port=port, upstream=upstream, secret=SECRET.decode(), secret_file=secret_file(run),
                                  threads=threads)
        return ['sh', '-c', 'exec ' + words], None


def default_binary():
    return os.path.join(os.environ.get('CARGO_TARGET_DIR', os.path.join(ROOT, 'target')), 'release', 'ingo-signing-proxy')


def binaries(options):
    """Name and file of each build of ours."""
    named = dict(item.split('=', 1) if '=' in item else ('ours', item) for item in options.binary or [])
    named = named or {'ours': default_binary()}
    for name, file in named.items():
        if not os.access(file, os.X_OK):
            raise Failed(f'{name}: there is no program {file}; build it with: make build')
    return named


def chosen(options, peers=True):
    """Ours and, where wanted, the peers, in the order in which they are shown."""
    every = [Nginx('nginx-pass', False), Nginx('nginx-lua', True), Haproxy('haproxy')] if peers else []
    every += [Ours(name, file) for name, file in binaries(options).items()]
    every += [Custom(*item.split('=', 1)) for item in options.proxy or []]
    wanted = options.only.split(',') if options.only else None
    every = [proxy for proxy in every if wanted is None or proxy.name in wanted]
    if not every:
        raise Failed('--only names none of the proxies')
    return every


def upstream(run, keepalive_requests=100_000_000, certificate=None):
    """Starts the upstream; its port."""
    port = free_port()
    tls = f'ssl_certificate {certificate}.pem; ssl_certificate_key {certificate}.key; ssl_session_cache shared:tls:10m; ' \
          'ssl_protocols TLSv1.2 TLSv1.3;' if certificate else ''
    file = filled(run, 'upstream.conf', f'upstream-{port}.conf', PORT=port, KEEPALIVE_REQUESTS=keepalive_requests,
                  LISTEN='ssl' if certificate else '', CERTIFICATE=tls)
    run.start(f'upstream-{port}', ['nginx', '-p', run.folder, '-e', 'stderr', '-c', file], cores()[1], None, port)
    return port
