"""Template of the page, of Jinja."""

PAGE = """
{%- macro chart(one) -%}
<figure><figcaption><b>{{ one.title }}</b></figcaption>{{ one.svg | safe }}
<figcaption>{% for curve in one.legend %}
<span class="key{{ ' dashed' if curve.dashed }}"
style="--k:var(--c{{ curve.colour % 8 }})">{{ curve.name }}</span>
{% endfor %}</figcaption>
</figure>
{%- endmacro -%}
{%- macro gain(value) -%}
<td class="{{ 'up' if value >= 0.05 else 'down' if value <= -0.05 }}">
{{- '%+.1f' | format(value) }}</td>
{%- endmacro -%}
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<link rel="icon" href="data:,"><title>{{ title }}</title><style>{{ css | safe }}</style>
</head><body>
<h1>{{ title }}</h1>
<p class="soft">{{ made }}</p>
{% for sentences in verdicts %}<div class="verdict">
{% for text in sentences %}<p>{{ text }}</p>{% endfor %}</div>
{% endfor %}
<h2>Runs</h2>
<div class="scroll"><table><thead><tr>{% for name in overview.head %}<th>{{ name }}</th>
{% endfor %}</tr></thead><tbody>
{% for cells in overview.rows %}<tr>{% for cell in cells %}<td>{{ cell }}</td>
{% endfor %}</tr>
{% endfor %}</tbody></table></div>
<p class="soft">Scores are mIoU in %, of the last validation{{ spread }}.</p>
<h2>Curves</h2>
<div class="grid">{% for one in charts %}{{ chart(one) }}{% endfor %}</div>
{% for one in classes %}
<h2>IoU by class: {{ one.name }}</h2>
<div class="scroll"><table><thead><tr><th>class</th>{% for name in one.columns %}
<th>{{ name }}</th>{% endfor %}{% if one.gains %}<th>gain</th>{% endif %}
<th class="bar">IoU of {{ one.tested }}</th></tr></thead><tbody>
{% for row in one.rows %}<tr{{ ' class=total' if row.name == 'mIoU' }}>
<td>{{ row.name }}</td>
{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}
{% if one.gains %}{% if row.gain is none %}<td></td>
{% else %}{{ gain(row.gain) }}{% endif %}{% endif %}
<td class="bar"><i style="width:{{ '%.1f' | format(row.share) }}%"></i></td></tr>
{% endfor %}</tbody></table></div>
{% endfor %}
{% for run in runs %}
<h2>{{ run.name }}</h2>
{% if run.taught %}<p>{{ run.taught }}</p>{% endif %}
<h3>Warnings</h3>
{% if run.warnings %}<ul>{% for one in run.warnings %}<li>{{ one.text }}
<small>{{ 'near iteration %d' | format(one.step) if one.step else 'at the start' }}
{%- if one.count > 1 %}, {{ one.count }} times{% endif %}</small></li>{% endfor %}</ul>
{% else %}<p class="soft">None.</p>{% endif %}
{% if run.charts %}<h3>Losses, pseudo labels, memory</h3>
<div class="grid">{% for one in run.charts %}{{ chart(one) }}{% endfor %}</div>
{% endif %}
{% if run.pseudo %}<h3>Pseudo labels by class, in the last report</h3>
<div class="scroll"><table><thead><tr><th>class</th><th>share of the pixels</th>
<th>kept of them</th></tr></thead><tbody>
{% for name, (share, kept) in run.pseudo.items() %}<tr><td>{{ name }}</td>
<td>{{ '%.1f' | format(share) }} %</td>
<td>{{ '%.0f %%' | format(kept) if share or kept else '-' }}</td></tr>
{% endfor %}</tbody></table></div>{% endif %}
{% for bank in run.banks %}<h3>Memory bank {{ bank.name }}</h3>
<p class="soft">{{ '%.0f' | format(bank.share) }} % of its places are filled.</p>
<div class="scroll"><table><thead><tr><th>class</th><th>rows of {{ bank.size }}</th>
<th class="bar">filled</th></tr></thead><tbody>
{% for name, rows, share in bank.rows %}<tr><td>{{ name }}</td><td>{{ rows }}</td>
<td class="bar"><i style="width:{{ '%.1f' | format(share) }}%"></i></td></tr>
{% endfor %}</tbody></table></div>{% endfor %}
{% for title, pictures in run.drawn.items() %}{% if pictures %}<h3>{{ title }}</h3>
{% if run.colours and pictures[0].wide %}<p class="soft">
{% for name, colour in run.colours.items() %}<span class="swatch"
style="--k:{{ colour }}">{{ name }}</span>
{% endfor %}</p>{% endif %}
{% for one in pictures %}<figure class="{{ 'row' if one.wide else 'one' }}">
<div class="scroll">
<img src="{{ one.address }}" alt="{{ title }}: {{ one.name }}" loading="lazy"></div>
</figure>
{% endfor %}{% endif %}{% endfor %}
{% if run.pictures %}<h3>Pictures</h3>
<div class="grid">{% for one in run.pictures %}<figure><img src="{{ one.address }}"
alt="{{ one.name }}" loading="lazy"><figcaption>{{ one.name }}</figcaption></figure>
{% endfor %}</div>{% endif %}
<h3>What was trained on what</h3>
<dl>{% for key, value in run.settings.items() %}<dt>{{ key }}</dt><dd>{{ value }}</dd>
{% endfor %}</dl>
<details><summary>Whole config</summary><pre>{{ run.config }}</pre></details>
{% endfor %}
</body></html>
"""
