"""What standards say of a server, asked of ours from outside: one named check for each SHALL."""
