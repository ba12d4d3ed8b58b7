/*
 * What comes between a program's entry and its main() on FreeBSD 13.
 *
 * The start code that zig links (crt1, of FreeBSD 14) calls __libc_start1, which
 * libc.so.7 has from FreeBSD 14 on (FBSD_1.7). Until 13 each program brought this with
 * it (lib/csu/amd64/crt1_c.c of 13.2), and so do ours: they run on 13 and on what
 * came later. Only for programs that are linked dynamically: the loader has
 * initialised everything, and environ and __progname are defined by crt1.
 */
#include <stdlib.h>
#include <string.h>

extern char **environ;
extern const char *__progname;

void __libc_start1(int argc, char *argv[], char *env[], void (*cleanup)(void),
    int (*program)(int, char *[], char *[]));

void
__libc_start1(int argc, char *argv[], char *env[], void (*cleanup)(void),
    int (*program)(int, char *[], char *[]))
{
	const char *slash;

	if (environ == NULL)
		environ = env;
	if (argc > 0 && argv[0] != NULL) {
		slash = strrchr(argv[0], '/');
		__progname = slash != NULL ? slash + 1 : argv[0];
	}
	/* The loader's own end. */
	if (cleanup != NULL)
		atexit(cleanup);
	exit(program(argc, argv, env));
}
