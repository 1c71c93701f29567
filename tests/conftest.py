"""Its presence puts this folder on the import path: helpers here are shared by the tests of all folders below."""
