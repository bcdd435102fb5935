// Order of the search results of the site, in place of Sphinx's: pages whose title has
// the words first, then guides, methods, configs; Sphinx orders equal scores by title.
var Scorer = {
  score: ([page, title, anchor, , score]) => {
    const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) || [];
    const asked = words(new URLSearchParams(window.location.search).get("q") || "");
    const named = words(anchor ? title.split(" > ")[0] : title);
    const own = asked.filter((word) => named.includes(word)).length;
    const places = [
      ["docs/faq", 6],
      [/^docs\/(get_started|your_own_data|which_method|doctor|predict|export|report)$/, 5],
      ["docs/monitoring", 5],
      [/^docs\/(architecture|add_a_method|api|compatibility|gpu_check|bench\w*)$/, 1],
      [/^docs\/\w+$/, 4],
      [/^docs\/methods\//, 3],
      [/^README$/, 3],
      [/^docs\/api\//, 1],
    ];
    const place = places.find(([one]) => page === one || (one.test && one.test(page)));
    return score + 20 * (own / Math.max(asked.length, 1)) + 3 * (place ? place[1] : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 7, // of a section, too, and sections of many pages have one name
  partialTitle: 6,
  term: 5,
  partialTerm: 2,
};
