"""What the site does with links that leave docs/, which MkDocs does not know, and with options."""

import posixpath
import re
from pathlib import Path

from mkdocs.exceptions import PluginError

CODE = re.compile(r'(^```.*?^```$)', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'(?<!!)\[([^\]]*)\]\(((?:\.\./)+[^)\s#]*)(#[^)\s]*)?\)')

INLINE = re.compile(r'(?<=<code>)[^<]+(?=</code>)')
HYPHENS = re.compile(r'(?<!\S)--[\w-]+|(?<!\S)[a-z]+-[a-z]+(?!\S)')


def on_page_content(html: str, page, config, files) -> str:
    """Keep options and names of commands on one line: browsers break ``--data`` at a hyphen."""
    unbroken = r'<span class="unbroken">\g<0></span>'
    return INLINE.sub(lambda match: HYPHENS.sub(unbroken, match[0]), html)


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Turn links to files outside docs/ into links to the repository, or else into their path."""
    root = Path(config['docs_dir']).parent
    folder = posixpath.dirname(f'docs/{page.file.src_uri}')

    def replace(match: re.Match) -> str:
        text, link, anchor = match[1], match[2], match[3] or ''
        path = posixpath.normpath(posixpath.join(folder, link))
        if path == 'docs' or path.startswith('docs/'):
            return match[0]
        if not (root / path).exists():
            raise PluginError(f'{page.file.src_uri}: {link} leads to no file')
        if config['repo_url']:
            return f'[{text}]({config["repo_url"].rstrip("/")}/blob/main/{path}{anchor})'
        return text if path in text or text.startswith('`') else f'{text} (`{path}`)'

    parts = CODE.split(markdown)
    return ''.join(p if p.startswith('```') else LINK.sub(replace, p) for p in parts)
