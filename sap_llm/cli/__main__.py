"""`python -m sap_llm.cli` is `sap-llm`."""

from sap_llm.cli.app import main

if __name__ == "__main__":
    main()
