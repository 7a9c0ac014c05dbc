#ifndef DIGEST_H
#define DIGEST_H

#define DIGEST_HEX 64

/* Computes the SHA-256 of two whole files in parallel, with two sha256sum(1) processes. Returns 0,
 * or -1 after an error message on standard error. */
int digest_two(const int fd[2], char ret_hex[2][DIGEST_HEX + 1]);

#endif
