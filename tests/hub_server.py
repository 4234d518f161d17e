"""A server that answers as the Hugging Face Hub does, as far as one model is pushed and fetched."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = 'hf_of_a_test'
COMMIT = 'a' * 40


class Hub(ThreadingHTTPServer):
    """The files of each repository, the requests that came, and what was sent beside commits."""

    def __init__(self) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.address = f'http://127.0.0.1:{self.server_address[1]}'
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.blobs: dict[str, bytes] = {}


@contextmanager
def serving():
    hub = Hub()
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server: Hub

    def log_message(self, *_):
        pass

    def _answer(self, content, status=200, **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def _body(self):
        return self.rfile.read(int(self.headers.get('Content-Length', 0)))

    def do_PUT(self):
        data = self._body()
        self.server.blobs[hashlib.sha256(data).hexdigest()] = data
        self._answer({})

    def do_POST(self):
        body = self._body()
        if self.headers.get('Authorization') != f'Bearer {TOKEN}':
            return self._answer({'error': 'Invalid username or password.'}, 401)
        parts = self.path.strip('/').split('/')
        if self.path == '/api/repos/create':
            return self._create(json.loads(body))
        if self.path == '/api/validate-yaml':
            return self._answer({'errors': [], 'warnings': []})
        if self.path.endswith('/info/lfs/objects/batch'):
            return self._lfs(json.loads(body))
        files = self.server.repositories['/'.join(parts[2:4])]
        if parts[4] == 'preupload':
            asked = json.loads(body)['files']
            modes = [(f['path'], 'regular' if f['path'].endswith('.md') else 'lfs') for f in asked]
            named = [dict(path=path, uploadMode=mode, shouldIgnore=False) for path, mode in modes]
            return self._answer({'files': named})
        for line in map(json.loads, body.splitlines()):
            value = line['value']
            if line['key'] == 'file':
                files[value['path']] = base64.b64decode(value['content'])
            elif line['key'] == 'lfsFile':
                files[value['path']] = self.server.blobs[value['oid']]
        url = f'{self.server.address}/{"/".join(parts[2:4])}/commit/{COMMIT}'
        return self._answer({'commitUrl': url, 'commitOid': COMMIT})

    def _create(self, asked):
        name = f'{asked["organization"]}/{asked["name"]}'
        known = name in self.server.repositories
        self.server.repositories.setdefault(name, {})
        if asked.get('private') or asked.get('visibility') == 'private':
            self.server.private.add(name)
        self._answer({'url': f'{self.server.address}/{name}'}, 409 if known else 200)

    def _lfs(self, asked):
        objects = [
            dict(
                oid=one['oid'],
                size=one['size'],
                actions=dict(upload=dict(href=f'{self.server.address}/blobs/{one["oid"]}')),
            )
            for one in asked['objects']
        ]
        self._answer({'transfer': 'basic', 'objects': objects})

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition('?')[0]
        parts = path.strip('/').split('/')
        name = '/'.join(parts[2:4] if parts[0] == 'api' else parts[:2])
        files = self.server.repositories.get(name)
        if files is None:
            error = {'X_Error_Code': 'RepoNotFound'}
            return self._answer({'error': 'Repository not found'}, 404, **error)
        if parts[0] == 'api':
            entries = [
                dict(type='file', path=file, size=len(data), oid='0' * 40)
                for file, data in files.items()
            ]
            return self._answer(entries)
        file = '/'.join(parts[4:])
        if file not in files:
            return self._answer({'error': 'Entry not found'}, 404, X_Error_Code='EntryNotFound')
        tag = hashlib.sha256(files[file]).hexdigest()
        return self._answer(files[file], ETag=f'"{tag}"', X_Repo_Commit=COMMIT)
