"""A notebook of one cell, run as the build runs one, and watched while it works."""

import nbclient
import nbformat


def watched_run(code, folder, timeout=60, **options):
    """Run code in a notebook; return its outputs and every text that it drew over an older one.

    Args:
        code: The cell.
        folder: Where it runs.
        timeout: Seconds.
        options: Of `nbclient.NotebookClient`.
    """
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    # As the build does: messages of C libraries go elsewhere.
    quiet = ["--IPKernelApp.log_level=50", "--IPKernelApp.capture_fd_output=False"]
    resources = {"metadata": {"path": str(folder)}}
    options |= {"timeout": timeout, "resources": resources, "extra_arguments": quiet}
    client = nbclient.NotebookClient(notebook, **options)
    shown, process_message = [], client.process_message

    def keep(message, *arguments):
        if message["msg_type"] == "update_display_data":
            shown.append(message["content"]["data"]["text/plain"])
        return process_message(message, *arguments)

    client.process_message = keep
    client.execute()
    return notebook.cells[0].outputs, shown
