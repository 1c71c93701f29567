"""Real tables, and the rows of them that are learnt from and tested on."""
