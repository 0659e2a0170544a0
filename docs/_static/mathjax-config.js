// No menu: it would add a tab stop to every formula, and ask for files that are not here.
// Widgets ask version 2 of MathJax, which had a Hub, to typeset their descriptions: none has maths.
window.MathJax = {
  options: {
    enableMenu: false,
    ignoreHtmlClass: "mathjax_ignore|document",
    processHtmlClass: "mathjax_process|math",
  },
  tex: { packages: { "[-]": ["autoload", "require"] } }, // what they load is not here either
  Hub: { Queue() {} },
  startup: {
    ready() {
      MathJax.Hub = { Queue() {} };
      MathJax.startup.defaultReady();
    },
    async pageReady() {
      await MathJax.startup.defaultPageReady();
      for (const formula of document.querySelectorAll('mjx-container[display="true"]')) {
        formula.tabIndex = 0; // on a telephone it scrolls
      }
    },
  },
};
