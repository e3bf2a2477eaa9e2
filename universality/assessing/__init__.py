"""A network and data of a notebook or a script as a cell with controls: what `universality.assess` is made of."""
