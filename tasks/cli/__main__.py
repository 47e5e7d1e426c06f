from tasks.cli import main

main(prog_name="stt-batch")
