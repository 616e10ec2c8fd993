"""`python -m tau0`, which is also how torchrun starts it: `torchrun --nproc-per-node 8 -m tau0 train ...`."""

from tau0.cli import main

if __name__ == "__main__":
    main()
