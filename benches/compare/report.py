"""What was measured, as Markdown for people and as JSON for programs."""
import json
import os


def number(value, digits=0):
    return '–' if value is None else f'{value:,.{digits}f}'


def table(columns, rows):
    """Markdown: `columns` are headings, each row a list of cells. Numbers stand to the right."""
    lines = ['| ' + ' | '.join(columns) + ' |', '|---' + '|---:' * (len(columns) - 1) + '|']
    return '\n'.join(lines + ['| ' + ' | '.join(str(cell) for cell in row) + ' |' for row in rows])


def machine(described):
    said = [f'{name} {value}' for name, value in described.items() if value is not None]
    return 'Measured on: ' + ', '.join(said) + '.'


def write(options, name, text, values):
    """Prints the text, and writes both to the folder for reports."""
    os.makedirs(options.out, exist_ok=True)
    for suffix, content in (('md', text), ('json', json.dumps(values, indent=1, ensure_ascii=False))):
        with open(f'{options.out}/{name}.{suffix}', 'w', encoding='utf-8') as file:
            file.write(content + '\n')
    print(text)
    print(f'\nwritten: {options.out}/{name}.md and .json')
