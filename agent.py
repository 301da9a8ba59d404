"""The launcher: `python agent.py dev | start | console | connect | download-files | call`."""

from agent.cli import main

if __name__ == "__main__":
    main()
