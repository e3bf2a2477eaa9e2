import sys

from universality.commands.main import main

sys.exit(main())
