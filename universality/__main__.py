import sys

from universality.cli import main

sys.exit(main())
