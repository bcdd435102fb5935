"""Style sheet of the page."""

CSS = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--soft:#59636e;--line:#d8dee4;
--card:#f6f8fa;--good:#1a7f37;--bad:#c4320a;--c0:#0969da;--c1:#bc4c00;--c2:#1a7f37;
--c3:#8250df;--c4:#bf3989;--c5:#0f7c86;--c6:#7d6600;--c7:#59636e}
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--fg:#e6edf3;--soft:#9198a1;
--line:#30363d;--card:#161b22;--good:#3fb950;--bad:#ff8c66;--c0:#58a6ff;--c1:#f0883e;
--c2:#3fb950;--c3:#bc8cff;--c4:#f778ba;--c5:#39c5cf;--c6:#d4ac0d;--c7:#9198a1}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:70rem;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem;
border-bottom:1px solid var(--line)}h3{font-size:1rem;margin:1rem 0 .3rem}
p{margin:.4rem 0}small,.soft{color:var(--soft)}
.verdict{background:var(--card);border-left:4px solid var(--c0);padding:.6rem 1rem;
margin:.8rem 0;border-radius:4px}
.verdict p:first-child{font-size:1.1rem;font-weight:600}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));
gap:1rem}
figure{margin:0;background:var(--card);border-radius:6px;padding:.6rem}
figure svg,figure img{width:100%;height:auto;display:block}
figcaption{font-size:.85rem}figcaption b{display:block}
.key{display:inline-block;margin-right:.8rem}.key::before{content:"";display:inline-block;
width:1.4rem;margin-right:.3rem;vertical-align:middle;border-top:3px solid var(--k)}
.key.dashed::before{border-top-style:dashed}
.swatch{display:inline-block;margin-right:.8rem;font-size:.85rem}
.swatch::before{content:"";display:inline-block;width:.8rem;height:.8rem;
margin-right:.3rem;vertical-align:-.1rem;background:var(--k);
border:1px solid var(--line)}
figure.row{margin:0 0 .6rem}figure.row img,figure.one img{width:auto;max-width:100%}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9rem}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;
white-space:nowrap}th:first-child,td:first-child{text-align:left;white-space:normal;
overflow-wrap:normal}
thead th{vertical-align:bottom;white-space:normal;overflow-wrap:normal}
tr.total td{font-weight:600}td.bar,th.bar{min-width:7rem;text-align:left}
.bar i{display:block;height:.6rem;background:var(--c0);border-radius:2px}
.up{color:var(--good)}.down{color:var(--bad)}
dl{display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.2rem 1rem;
margin:0;font-size:.9rem}dt{color:var(--soft)}dd{margin:0}
pre{overflow-x:auto;background:var(--card);padding:.6rem;border-radius:6px;
font-size:.8rem;overflow-wrap:normal}
details{margin:.5rem 0}summary{cursor:pointer}li{margin:.3rem 0}
@media(max-width:30rem){body{padding:.6rem}dl{grid-template-columns:1fr}
dd{margin:0 0 .4rem}th,td{padding:.25rem .3rem;font-size:.8rem}
td.bar,th.bar{display:none}
figure.row img{max-width:none;height:9rem}}
"""
