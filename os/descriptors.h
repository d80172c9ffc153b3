/* Descriptors 0, 1 and 2 belong to standard input, output and error, whether a program was given
 * them or not. One that was started without (`<&-`, some supervisors) hands those numbers to
 * whatever it opens first: then a line for the log goes into its own database or pipe, and libuv
 * aborts as it closes a handle of its own. So the gaps are filled before anything is opened.
 *
 * They are filled the wrong way round (input that cannot be read, output that cannot be written),
 * so that who uses them gets the error that a closed descriptor gives, and output that was asked
 * for is not lost without a word. From gnulib's stdopen. */
#ifndef TROUPE_OS_DESCRIPTORS_H
#define TROUPE_OS_DESCRIPTORS_H

/* First of all in main. Without /dev/null it ends the process: there is no way to say why. */
void descriptors_fill(void);

#endif
