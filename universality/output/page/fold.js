// Everything stands open in the page as it is written: without scripts, on wide screens and on paper nothing is hidden.
// On a narrow screen long sections begin closed, before anything is unpacked and shown; on a wide one their titles are
// titles, and no stop of the tab key.
const narrow = matchMedia("(max-width: 760px)");
const folds = [...document.querySelectorAll(".fold")];
const fit = () => {
  for (const fold of folds) {
    fold.firstElementChild.tabIndex = narrow.matches ? 0 : -1;
    if (!narrow.matches) fold.open = true;
  }
};
fit();
narrow.addEventListener("change", fit);
for (const fold of folds) {
  if (narrow.matches) fold.open = false;
  fold.firstElementChild.addEventListener("click", (event) => narrow.matches || event.preventDefault());
}

// Opens what an element stands in, and the section that it is.
const reveal = (element) => {
  if (element.firstElementChild?.matches(".fold")) element.firstElementChild.open = true;
  for (let fold = element.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
};
const target = document.getElementById(location.hash.slice(1));
if (target) {
  reveal(target);
  target.scrollIntoView();
}

