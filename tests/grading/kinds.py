"""Answers by kind, of one's own making: `gold | answer`, right ones and wrong ones."""

from __future__ import annotations

WRONG = r"""
[1,2] | x=1, y=2
\frac{3^{100}}{2^{100}} | 1-1
\frac{3^{100}}{2^{100}} | 10^{-20}
\frac{32!}{(10!)^3 2! 3!} | 0
\frac{32!}{(10!)^3 2! 3!} | 10^{-20}
6.67 \times 10^{-11} | 0.0
6.67 \times 10^{-11} | 6.68 \times 10^{-11}
10^{-30} | 10^{-31}
\sqrt{2}+10^{-40} | \sqrt{2}
6t | 6
2ab | 2
6t | 6m
3\pi r^2 | 3\pi
10x+5 | 10x
x^2+1=0 | x^2+2=0
x^2+y^2=-1 | x^2+y^2=-4
ABC | BAC
dog | god
(1,2) | \{1,2\}
(1,2) | (2,1)
1,2,\ldots | 1,2
1,2,\ldots,10 | 1,2,10
1+2+\ldots+n | 1+2+n
7 | 8=7
7 | x+y=7
7 | 2x=7
7 | x^2=7
7 | 7 8
7 | 7 or 8
7 | 7, 8
7 | x = 7, 8
7 | (7)(8)
7 | 7_8
7 | \text{7 or 8}
7 | \text{maybe } 7
7 | 7 \text{ is wrong}
7 | 7 \text{ if } x>0
7 | \text{between } 6 \text{ and } 8
7 | 6 < 7
7 | 6<x<8
7 | 7\text{ or so}
7 | 7 \text{ and } 7.5
7 | [7]8
7 | 7\\8
7 | 7 \quad 8
7 | 7 \quad \text{or} \quad 8
7 | \begin{cases} 7 \\ 8 \end{cases}
7 | \begin{aligned} 7 \\ 8 \end{aligned}
7 | 7\cdot
7 | 7+
7 | 7)
7 | \frac{7}{}
7 | 7i
7 | 7/
7 | 7 (8)
5 | \text{not } 5
5 | \neq 5
5 | > 5
5 | \approx 5.4
5 | 4.9 \approx 5
5 | \text{five or six}
12 | 1 2
12 | 1;2
123 | 12 3
50 | 50\%
0.5 | 50
5\% | 5.5\%
5\% | 500
2.5 | 2.51
x | y
(0,1) | [0,1]
(0,1) | [0,1)
x>3 | x<3
x \ge 3 | x>3
x > 3 | y > 3
(1,2) \cup (3,4) | (1,4)
\sqrt{2} | 1.414
\pi | 3.14
\pi | 22/7
1 | 0.99999999
0 | 10^{-12}
0 | 0.0000001
1000000 | 999999.9
yes | no
A | A, B
A | A or B
B | (A) B
B | (A) 42
3:30 PM | 3:30
7:30 | 7:31
2:3 | 3:2
12:30 | 12.5
5\text{ cm} | 5\text{ m}
5\text{ cm}^2 | 5\text{ cm}
\$5 | 5\text{ euros}
30^\circ | 30\text{ radians}
\frac{\pi}{6} | 60^\circ
1011_2 | 1011_3
1011_2 | 11
\begin{pmatrix}1&2\\3&4\end{pmatrix} | \begin{pmatrix}1&3\\2&4\end{pmatrix}
\begin{pmatrix}1&2\end{pmatrix} | \begin{pmatrix}1\\2\end{pmatrix}
1,2,3 | 1,2
1,2 | 1,2,3
1,1 | 1
\pm 3 | 3
3 | \pm 3
x=1, y=2 | x=2, y=1
(x,y)=(1,2) | (2,1)
x=3 | y=3
n=2k+1 | 2k
(x+1)^2 | x^2+1
\ln x | \log x
2^{2024} | 2^{2025}
2024! | 2023!
|x| | x
\sqrt{x^2} | x
1+i | 1-i
\infty | -\infty
\infty | 10^{100}
\emptyset | 0
\frac{2}{3} | 0.66667
0.333 | \frac13
\overline{AB} | \overline{CD}
\binom{10}{3} | \binom{10}{4}
\lfloor x \rfloor | x
f(x)=x^2 | f(x)=x^3
y=2x | y=3x
x+y=1 | x-y=1
x+y<1 | x+y>1
x+y<1 | -x-y<1
1,234 | 1, 234
(2,102) | 2102
\frac{1}{2}\text{ hour} | \frac{1}{2}\text{ day}
2 hours | 2 minutes
\text{Monday, June 3} | 3
\text{3 apples} | \text{4 apples}
p \to q | q \to p
"""

RIGHT = r"""
\frac{1}{3} | 33\frac{1}{3}\%
(-\infty, 2) \cup (2, \infty) | x \neq 2
f^{-1}(x)=2x | 2x
\arctan 2 | \tan^{-1} 2
\frac{1}{3} | \frac{2}{6} = 33\frac13\%
50\% | 0.5
50\% | 50
0.5 | 50\%
\frac12 | 50\%
50\% | \frac{1}{2}
12.5\% | \frac{1}{8}
90\% | 90 percent
10\% | 10\text{ percent}
4.5e33 | 4.5\times 10^{33}
4.5\times10^{33} | 45 \times 10^{32}
(0,1) | 0<x<1
x>1 | (1,\infty)
x \in (0,1) | (0,1)
x\in[1,2] | 1\le x\le 2
[0,\infty) | x \ge 0
(-\infty,-1)\cup(1,\infty) | x<-1 \text{ or } x>1
t > 5 | t>5
2x<4 | x<2
B | \textbf{(B)}\ 42
42 | \textbf{(B)}\ 42
B | (B) 42
\textbf{(B)} 42 | B
\text{(B)} | B
(B) | B.
C | c
\frac{\pi}{2} | pi/2
\frac{3}{2} | 1 1/2
2\pi r | 2*pi*r
e^{2} | e**2
\frac{\sqrt{5}}{2} | sqrt(5)/2
x = 1234 | x = 1,234
(1234, 5) | (1,234, 5)
\$1,234.50 | 1234.5
5 | \$5
5 | 5\text{ dollars}
5 | 5€
5 | £5
5\text{ cm} | 5 cm
5 cm | 5\text{ centimeters}
5 \text{ meters} | 5 \text{ metres}
5 | 5 \text{ metres}
12 | 12 square centimeters
12\text{ cm}^2 | 12 \text{ square centimeters}
60\text{ mph} | 60 \text{ miles per hour}
10 | 10\text{ units}
10\text{ square units} | 10
\text{10 apples} | 10
\frac{3}{4} \text{ cups} | 3/4
\text{13 minutes} | 13 min
12 | １２
(1,2) | （1，2）
\frac12 | ½
\infty | ∞
\sqrt{2} | √2
5 | 5​
5 | **5**
5 | __5__
5 | \(5\)
5 | \[5\]
5 | \underline{5}
5 | {5}
\{1,2,3,4,5,6,7,8,9,10,11,12\} | \{12,11,10,9,8,7,6,5,4,3,2,1\}
\{\sqrt2,\sqrt3,\sqrt5,\pi\} | \{\pi,\sqrt5,\sqrt3,\sqrt2\}
2\sqrt{2} | \sqrt{8}
\frac{\sqrt2}{2} | \frac{1}{\sqrt2}
\frac{1}{2}+\frac{1}{3} | \frac56
x^2+2x+1 | (x+1)^2
\sin 2x | 2\sin x\cos x
\log 100 | 2
\ln e^2 | 2
\log_2 8 | 3
\binom{5}{2} | 10
3+4i | 4i+3
\pm\sqrt{2} | \sqrt2, -\sqrt2
\sqrt2, -\sqrt2 | \pm\sqrt{2}
x=2\pm\sqrt3 | 2+\sqrt3, 2-\sqrt3
x=1 | 1
1 | x=1
f(x)=x^2 | x^2
y=x+1 | x+1
1,2 | x=1, x=2
x=1 \text{ or } x=2 | x=2, x=1
x=1,x=2 | \{1,2\}
(1,2),(3,4) | (3,4), (1,2)
(x,y)=(1,2) | (1,2)
x=1,y=2 | (1,2)
\begin{pmatrix}1/2\\2\end{pmatrix} | \begin{bmatrix}0.5\\2\end{bmatrix}
3x+y=5 | y=5-3x
3x+y=5 | 6x+2y=10
x+y<1 | 1>x+y
\text{Yes} | yes
\text{even} | Even
\frac{1}{3} | 0.333333333
\frac{2}{3} | 0.6666667
0.\overline{3} | \frac13
0.1\overline{6} | 1/6
\pi | 3.14159265
\text{no solution} | \emptyset
\text{No real solutions} | no solution
30^\circ | 30
30^\circ | 30 degrees
30 | 30°
\frac{\pi}{6} | 30^\circ
1:2 | 1/2
2:4 | 1:2
1011_2 | (1011)_2
1011_2 | 1011
\mathbb{R} | (-\infty,\infty)
x^2 | x²
x_1 | x_{1}
-\frac{1}{2} | \frac{-1}{2}
-\frac12 | -0.5
1{,}000{,}000 | 1000000
1,000,000 | 10^6
3. | 3
007 | 7
x = \frac{1}{2} = 0.5 | 0.5
0.5 | \frac{1}{2} = 0.5
\frac{\sqrt3}{3} | \frac{\sqrt{3}}{3} \approx 0.58
x^{10} | x^10
\theta = \frac{\pi}{4} | \frac{\pi}{4}
\angle ABC = 30^\circ | 30
6\text{ and }8 | 8, 6
AB = 5 | 5
\sum_{k=1}^{10} k | 55
55 | \sum_{k=1}^{10} k
\int_0^1 x dx | 1/2
2xy | 2yx
xy | yx
3\frac{1}{2} | 7/2
-3\frac12 | -3.5
"""


def pairs(text: str) -> list[tuple[str, str]]:
    """(gold, answer) of each line."""
    return [tuple(line.split(" | ", 1)) for line in text.strip("\n").splitlines()]  # type: ignore[misc]
