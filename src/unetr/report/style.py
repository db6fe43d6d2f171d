"""The page's style sheet: light and dark by the reader's setting, plain on paper."""

STYLE = """
:root {
  --ground: #ffffff; --panel: #f4f6f8; --ink: #1b232b; --soft: #5a6672; --line: #d9dfe5; --accent: #1c6fc4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14181d; --panel: #1d232a; --ink: #e3e8ee; --soft: #97a3af; --line: #333c46; --accent: #6db3f7;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 2rem 1.25rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem; }
p { margin: .4rem 0 .8rem; max-width: 52rem; color: var(--soft); overflow-wrap: anywhere; }
a { color: var(--accent); }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin-top: 1.1rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .7rem; }
.tile { background: var(--panel); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem 1rem; }
.tile b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.tile span { color: var(--soft); font-size: .82rem; }
.scroll { overflow-x: auto; margin: .4rem 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .34rem .8rem .34rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
tbody th { font-weight: 600; overflow-wrap: break-word; max-width: 22rem; }
td { overflow-wrap: anywhere; }
.numbers td, .numbers thead th + th { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.numbers th, .numbers td { padding: .34rem .9rem .34rem 0; }
.facts th { color: var(--soft); font-weight: 400; min-width: 9rem; }
.plan { width: 100%; }
.plan td:last-child { color: var(--soft); min-width: 16rem; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .85em; font-weight: 400; }
img { max-width: 100%; height: auto; display: block; }
figure { margin: 1rem 0 1.6rem; }
figure img { border-radius: .4rem; max-width: min(100%, 52rem); }
figcaption { color: var(--soft); margin-top: .4rem; }
figcaption b { color: var(--ink); margin-right: .6rem; overflow-wrap: anywhere; }
summary { cursor: pointer; color: var(--accent); margin: .6rem 0; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media print {
  :root { --ground: #ffffff; --panel: #ffffff; --ink: #000000; --soft: #444444; --line: #bbbbbb; --accent: #000000; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  figure, tr, .tile { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""
